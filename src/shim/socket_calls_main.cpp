// SPDX-License-Identifier: Apache-2.0
// The functions of the C library that concern sockets and descriptors, as the preload library
// exports them. Each looks whether the descriptor is one of ours and passes all else on.
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <exception>

#include "shim/descriptors.hpp"
#include "shim/director_link.hpp"
#include "shim/hint.hpp"
#include "shim/netlink_socket.hpp"
#include "shim/next.hpp"
#include "shim/proc_files.hpp"
#include "shim/socket_options.hpp"

#define LB_EXPORT extern "C" __attribute__((visibility("default")))

namespace lb::shim {
namespace {

Role role_of(const Descriptor& descriptor) noexcept {
  return descriptor.role.load(std::memory_order_relaxed);
}

/// The entry of a generic-netlink socket, decided or not; else null.
Descriptor* find_socket(int fd) noexcept {
  auto* descriptor = find(fd);
  return descriptor != nullptr && role_of(*descriptor) != Role::kSetting ? descriptor : nullptr;
}
Descriptor* find_director(int fd) noexcept {
  auto* descriptor = find(fd);
  return descriptor != nullptr && role_of(*descriptor) == Role::kDirector ? descriptor : nullptr;
}

msghdr one_part(iovec& part) noexcept {
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return message;
}

ssize_t receive_parts(int fd, Descriptor& descriptor, iovec* parts, std::size_t count, int flags,
                      sockaddr* address, socklen_t* length) noexcept {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  if (address != nullptr && length != nullptr) {
    message.msg_name = address;
    message.msg_namelen = *length;
  }
  const auto size = receive_message(fd, descriptor, message, flags);
  if (size >= 0 && message.msg_name != nullptr) *length = message.msg_namelen;
  return size;
}

ssize_t receive_bytes(int fd, Descriptor& descriptor, void* data, std::size_t size, int flags,
                      sockaddr* address, socklen_t* length) noexcept {
  iovec part{.iov_base = data, .iov_len = size};
  return receive_parts(fd, descriptor, &part, 1, flags, address, length);
}

ssize_t send_bytes(int fd, Descriptor& descriptor, const void* data, std::size_t size, int flags,
                   const sockaddr* address, socklen_t length) noexcept {
  iovec part{.iov_base = const_cast<void*>(data), .iov_len = size};
  auto message = one_part(part);
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = length;
  return send_message(fd, descriptor, message, flags);
}

bool is_ipv4(int fd) noexcept {
  int domain = 0;
  socklen_t size = sizeof domain;
  return LB_NEXT(getsockopt)(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET;
}

/// Runs `request` with the older interface; -1 and errno as the system call.
template <class Request>
int ask_options(int fd, Request request) noexcept {
  Result<void> result;
  try {
    DirectorLink link(fd);
    const auto context = link.context(wire::kIpvsName);
    if (context) {
      SocketOptions options(link, *context);
      result = request(options);
    } else {
      hint(context.error());
      // Without the kernel's module nobody knows the option.
      const int code = context.error().code;
      result = failure(code == EPERM ? EPERM : ENOPROTOOPT);
    }
  } catch (const std::exception&) {
    result = failure(ENOMEM);
  }
  if (result) return 0;
  errno = result.error().code;
  return -1;
}

int duplicated(int fd, int copied) noexcept {
  if (copied >= 0) copy(fd, copied);
  return copied;
}

int control(int fd, int command, void* argument) noexcept {
  const int result = LB_NEXT(fcntl64)(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;
}

}  // namespace
}  // namespace lb::shim

using namespace lb::shim;

LB_EXPORT int socket(int domain, int type, int protocol) noexcept {
  const int fd = LB_NEXT(socket)(domain, type, protocol);
  if (fd < 0) return fd;
  if (domain == AF_NETLINK && protocol == NETLINK_GENERIC) {
    assign(fd, Role::kUndecided);
  } else {
    forget(fd);
  }
  return fd;
}

LB_EXPORT int close(int fd) {
  settle_setting(fd);
  forget(fd);
  return LB_NEXT(close)(fd);
}

LB_EXPORT int dup(int fd) noexcept { return duplicated(fd, LB_NEXT(dup)(fd)); }
LB_EXPORT int dup2(int fd, int wanted) noexcept {
  if (fd != wanted) settle_setting(wanted);
  return duplicated(fd, LB_NEXT(dup2)(fd, wanted));
}
LB_EXPORT int dup3(int fd, int wanted, int flags) noexcept {
  settle_setting(wanted);
  return duplicated(fd, LB_NEXT(dup3)(fd, wanted, flags));
}

LB_EXPORT int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  return control(fd, command, argument);
}
LB_EXPORT int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  return control(fd, command, argument);
}

LB_EXPORT int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  const int result = LB_NEXT(epoll_ctl)(epoll, operation, fd, event);
  auto* descriptor = result == 0 ? find_socket(fd) : nullptr;
  if (descriptor == nullptr) return result;
  descriptor->is_polled = operation != EPOLL_CTL_DEL;
  descriptor->epoll = epoll;
  if (descriptor->is_polled) descriptor->event = *event;
  return result;
}

LB_EXPORT int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  auto* descriptor = find_director(fd);
  return descriptor != nullptr ? bind_socket(*descriptor, address, length)
                               : LB_NEXT(bind)(fd, address, length);
}

LB_EXPORT int connect(int fd, const sockaddr* address, socklen_t length) {
  // The kernel's netlink remembers whom to send to; here that is sluiced anyway.
  return find_director(fd) != nullptr ? 0 : LB_NEXT(connect)(fd, address, length);
}

LB_EXPORT int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
  const auto* descriptor = find_director(fd);
  return descriptor != nullptr ? own_address(*descriptor, address, length)
                               : LB_NEXT(getsockname)(fd, address, length);
}

LB_EXPORT int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
  return find_director(fd) != nullptr ? peer_address(address, length)
                                      : LB_NEXT(getpeername)(fd, address, length);
}

LB_EXPORT int setsockopt(int fd, int level, int option, const void* value,
                         socklen_t length) noexcept {
  if (auto* descriptor = find_director(fd); descriptor != nullptr) {
    return set_option(fd, *descriptor, level, option, value, length);
  }
  if (level != IPPROTO_IP || !SocketOptions::is_set(option) || !is_ipv4(fd)) {
    return LB_NEXT(setsockopt)(fd, level, option, value, length);
  }
  const auto bytes = std::span(static_cast<const std::byte*>(value), value == nullptr ? 0 : length);
  return ask_options(fd, [&](SocketOptions& options) { return options.set(option, bytes); });
}

LB_EXPORT int getsockopt(int fd, int level, int option, void* value, socklen_t* length) noexcept {
  if (find_director(fd) != nullptr) return get_option(fd, level, option, value, length);
  if (level != IPPROTO_IP || !SocketOptions::is_get(option) || !is_ipv4(fd) || value == nullptr ||
      length == nullptr) {
    return LB_NEXT(getsockopt)(fd, level, option, value, length);
  }
  const auto bytes = std::span(static_cast<std::byte*>(value), *length);
  return ask_options(fd, [&](SocketOptions& options) -> lb::Result<void> {
    const auto size = options.get(option, bytes);
    if (!size) return tl::unexpected(size.error());
    *length = *size;
    return {};
  });
}

LB_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  auto* descriptor = message != nullptr ? find_socket(fd) : nullptr;
  return descriptor != nullptr ? send_message(fd, *descriptor, *message, flags)
                               : LB_NEXT(sendmsg)(fd, message, flags);
}

LB_EXPORT ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address,
                         socklen_t length) {
  auto* descriptor = find_socket(fd);
  return descriptor != nullptr ? send_bytes(fd, *descriptor, data, size, flags, address, length)
                               : LB_NEXT(sendto)(fd, data, size, flags, address, length);
}

LB_EXPORT ssize_t send(int fd, const void* data, size_t size, int flags) {
  auto* descriptor = find_socket(fd);
  return descriptor != nullptr ? send_bytes(fd, *descriptor, data, size, flags, nullptr, 0)
                               : LB_NEXT(send)(fd, data, size, flags);
}

LB_EXPORT ssize_t write(int fd, const void* data, size_t size) {
  auto* descriptor = find(fd);
  if (descriptor == nullptr) return LB_NEXT(write)(fd, data, size);
  return role_of(*descriptor) == Role::kSetting
             ? write_setting(descriptor->name, data, size)
             : send_bytes(fd, *descriptor, data, size, 0, nullptr, 0);
}

LB_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  auto* descriptor = message != nullptr ? find_director(fd) : nullptr;
  return descriptor != nullptr ? receive_message(fd, *descriptor, *message, flags)
                               : LB_NEXT(recvmsg)(fd, message, flags);
}

LB_EXPORT ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address,
                           socklen_t* length) {
  auto* descriptor = find_director(fd);
  return descriptor != nullptr ? receive_bytes(fd, *descriptor, data, size, flags, address, length)
                               : LB_NEXT(recvfrom)(fd, data, size, flags, address, length);
}

LB_EXPORT ssize_t recv(int fd, void* data, size_t size, int flags) {
  auto* descriptor = find_director(fd);
  return descriptor != nullptr ? receive_bytes(fd, *descriptor, data, size, flags, nullptr, nullptr)
                               : LB_NEXT(recv)(fd, data, size, flags);
}

LB_EXPORT ssize_t read(int fd, void* data, size_t size) {
  auto* descriptor = find_director(fd);
  return descriptor != nullptr ? receive_bytes(fd, *descriptor, data, size, 0, nullptr, nullptr)
                               : LB_NEXT(read)(fd, data, size);
}

// What the above are called when a program is built with _FORTIFY_SOURCE.

extern "C" ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags);
extern "C" ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                                  sockaddr* address, socklen_t* length);
extern "C" ssize_t __read_chk(int fd, void* data, size_t size, size_t room);

LB_EXPORT ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags) {
  return find_director(fd) != nullptr && size <= room
             ? recv(fd, data, size, flags)
             : LB_NEXT(__recv_chk)(fd, data, size, room, flags);
}
LB_EXPORT ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                                 sockaddr* address, socklen_t* length) {
  return find_director(fd) != nullptr && size <= room
             ? recvfrom(fd, data, size, flags, address, length)
             : LB_NEXT(__recvfrom_chk)(fd, data, size, room, flags, address, length);
}
LB_EXPORT ssize_t __read_chk(int fd, void* data, size_t size, size_t room) {
  return find_director(fd) != nullptr && size <= room ? read(fd, data, size)
                                                      : LB_NEXT(__read_chk)(fd, data, size, room);
}
