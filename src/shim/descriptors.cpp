// SPDX-License-Identifier: Apache-2.0
#include "shim/descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "shim/next.hpp"

namespace lb::shim {
namespace {

// Memory is only taken for pages with entries.
constexpr int kMaxDescriptors = 1 << 16;
constinit std::array<Descriptor, kMaxDescriptors> table{};
// No entry was ever above this number.
constinit std::atomic<int> highest{-1};

Descriptor* entry(int fd) noexcept {
  if (fd < 0 || fd >= kMaxDescriptors) return nullptr;
  return &table[static_cast<std::size_t>(fd)];
}

// The role is written last and read first (release, acquire): whoever finds it sees the rest.
void publish(Descriptor& descriptor, Role role) noexcept {
  const auto number = static_cast<int>(&descriptor - table.data());
  auto before = highest.load(std::memory_order_relaxed);
  while (role != Role::kNone && before < number &&
         !highest.compare_exchange_weak(before, number, std::memory_order_release)) {
  }
  descriptor.role.store(role, std::memory_order_release);
}

void copy_contents(const Descriptor& from, Descriptor& to) noexcept {
  to.is_waiting = from.is_waiting;
  to.has_failed = from.has_failed;
  to.has_own_timeout = from.has_own_timeout;
  to.error = from.error;
  to.request = from.request;
  to.port_id = from.port_id;
  for (std::size_t i = 0; i < sizeof from.name; ++i) to.name[i] = from.name[i];
  to.has_content = from.has_content;
  to.device = from.device;
  to.inode = from.inode;
  // A duplicate is not waited for.
  to.is_polled = false;
}

bool note_file(int fd, Descriptor& descriptor) noexcept {
  struct stat now {};
  if (::fstat(fd, &now) != 0) return false;
  descriptor.device = now.st_dev;
  descriptor.inode = now.st_ino;
  return true;
}

}  // namespace

bool assign(int fd, Role role) noexcept {
  auto* descriptor = entry(fd);
  if (descriptor == nullptr) return false;
  publish(*descriptor, Role::kNone);
  copy_contents(Descriptor{}, *descriptor);
  if (!note_file(fd, *descriptor)) return false;
  publish(*descriptor, role);
  return true;
}

Descriptor* find(int fd) noexcept {
  auto* descriptor = entry(fd);
  if (descriptor == nullptr || descriptor->role.load(std::memory_order_acquire) == Role::kNone) {
    return nullptr;
  }
  Descriptor now;
  if (!note_file(fd, now) || now.device != descriptor->device || now.inode != descriptor->inode) {
    publish(*descriptor, Role::kNone);
    return nullptr;
  }
  return descriptor;
}

void forget(int fd) noexcept {
  if (auto* descriptor = entry(fd); descriptor != nullptr) publish(*descriptor, Role::kNone);
}

void copy(int fd, int copy) noexcept {
  auto* to = entry(copy);
  if (to == nullptr || fd == copy) return;
  const auto* from = find(fd);
  publish(*to, Role::kNone);
  if (from == nullptr) return;
  copy_contents(*from, *to);
  publish(*to, from->role.load(std::memory_order_relaxed));
}

bool replace(int fd, int replacement, Role role) noexcept {
  const auto* known = find(fd);
  if (known == nullptr) return false;
  const auto device = known->device;
  const auto inode = known->inode;
  const int status = LB_NEXT(fcntl)(fd, F_GETFL);
  if (status >= 0 && (status & O_NONBLOCK) != 0) {
    LB_NEXT(fcntl)(replacement, F_SETFL, O_RDWR | O_NONBLOCK);
  }
  bool is_done = true;
  for (int other = 0; other <= highest.load(std::memory_order_acquire); ++other) {
    auto& descriptor = table[static_cast<std::size_t>(other)];
    if (descriptor.role.load(std::memory_order_acquire) == Role::kNone) continue;
    if (descriptor.device != device || descriptor.inode != inode || find(other) == nullptr) {
      continue;
    }
    const int flags = LB_NEXT(fcntl)(other, F_GETFD);
    const bool closes = flags >= 0 && (flags & FD_CLOEXEC) != 0;
    if (LB_NEXT(dup3)(replacement, other, closes ? O_CLOEXEC : 0) < 0) {
      is_done = false;
      continue;
    }
    note_file(other, descriptor);
    publish(descriptor, role);
    if (descriptor.is_polled) {
      // It may be closed by now, and nobody waits then.
      (void)LB_NEXT(epoll_ctl)(descriptor.epoll, EPOLL_CTL_ADD, other, &descriptor.event);
    }
  }
  LB_NEXT(close)(replacement);
  return is_done;
}

}  // namespace lb::shim
