// SPDX-License-Identifier: Apache-2.0
#include "datapath/pins.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

namespace lb::datapath {
namespace {

constexpr const char* kFileSystem = "/sys/fs/bpf";

bool is_mounted() noexcept {
  struct statfs status {};
  return ::statfs(kFileSystem, &status) == 0 &&
         static_cast<std::uint64_t>(status.f_type) == BPF_FS_MAGIC;
}

/// A number of this network namespace that no other ever has.
Outcome<std::uint64_t> namespace_cookie() {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (!socket.valid() ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return system_failure("cannot tell the network namespace", errno);
  }
  return cookie;
}

std::string parent() { return fmt::format("{}/sluice", kFileSystem); }

Outcome<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return system_failure("cannot make " + path, errno);
}

Outcome<void> make_directories(const std::string& path) {
  if (auto made = make_directory(parent()); !made) return made;
  return make_directory(path);
}

}  // namespace

Outcome<std::unique_ptr<Pins>> Pins::open() {
  // Mounted by init on most systems; whoever else needs it mounts it in the same way.
  if (!is_mounted() && ::mount("bpf", kFileSystem, "bpf", 0, "mode=0700") != 0) {
    return system_failure(fmt::format("no BPF file system at {}", kFileSystem), errno);
  }
  const auto cookie = namespace_cookie();
  if (!cookie) return tl::unexpected(cookie.error());
  std::unique_ptr<Pins> pins(new Pins(fmt::format("{}/{:x}", parent(), *cookie)));
  constexpr int kAttempts = 5;  // the last director elsewhere may be removing the parent
  auto made = make_directories(pins->directory_);
  for (int i = 1; !made && i < kAttempts; ++i) made = make_directories(pins->directory_);
  if (!made) return tl::unexpected(made.error());
  pins->hold_ =
      FileDescriptor(::open(pins->directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!pins->hold_.valid() || ::flock(pins->hold_.get(), LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    pins->is_kept_ = true;  // they are another's
    return system_failure("cannot take hold of " + pins->directory_, error);
  }
  return pins;
}

Pins::~Pins() {
  if (is_kept_) return;
  remove_all();
  ::rmdir(directory_.c_str());
  ::rmdir(parent().c_str());  // fails while others have theirs in it
}

std::string Pins::path(std::string_view name) const {
  return fmt::format("{}/{}", directory_, name);
}

FileDescriptor Pins::get(std::string_view name) const {
  return FileDescriptor(::bpf_obj_get(path(name).c_str()));
}

Outcome<void> Pins::pin(int object, std::string_view name) const {
  const auto where = path(name);
  if (::bpf_obj_pin(object, where.c_str()) == 0) return {};
  return system_failure("cannot pin " + where, errno);
}

void Pins::remove(std::string_view name) const noexcept { ::unlink(path(name).c_str()); }

void Pins::remove_all() const noexcept {
  DIR* directory = ::opendir(directory_.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') remove(entry->d_name);
  }
  ::closedir(directory);
}

}  // namespace lb::datapath
