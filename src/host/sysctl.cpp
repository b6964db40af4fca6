// SPDX-License-Identifier: Apache-2.0
#include "host/sysctl.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

namespace lb::host {
namespace {

constexpr const char* kRoot = "/proc/sys/";

}  // namespace

std::optional<std::string> read_sysctl(const std::string& path) {
  std::ifstream file(kRoot + path);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) return {};
  const auto end = text.find_last_not_of(" \t\n");
  text.resize(end == std::string::npos ? 0 : end + 1);
  return text;
}

std::optional<int> read_sysctl_number(const std::string& path) {
  const auto text = read_sysctl(path);
  if (!text) return {};
  int value = 0;
  const auto* last = text->data() + text->size();
  const auto [end, failed] = std::from_chars(text->data(), last, value);
  if (failed != std::errc{} || end != last) return {};
  return value;
}

Outcome<void> write_sysctl(const std::string& path, const std::string& value) {
  const auto what = "cannot set " + path + " to " + value;
  const int file = ::open((kRoot + path).c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return system_trouble(what, errno);
  const auto written = ::write(file, value.data(), value.size());
  const int failed = written < 0 ? errno : 0;
  ::close(file);
  if (failed != 0) return system_trouble(what, failed);
  return {};
}

std::optional<std::string> missing_privilege() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return "capget";
  const auto has = [&](unsigned number) {
    return ((data[number / 32].effective >> (number % 32)) & 1U) != 0;
  };
  if (!has(CAP_NET_ADMIN)) return "CAP_NET_ADMIN";
  if (!has(CAP_NET_RAW)) return "CAP_NET_RAW";
  return {};
}

std::string boot_id() { return read_sysctl("kernel/random/boot_id").value_or(""); }

Outcome<std::uint64_t> namespace_id() {
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return system_trouble("cannot open a socket", errno);
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  const bool has_cookie = ::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0;
  ::close(socket);
  if (has_cookie) return cookie;
  struct stat inode {};  // before Linux 5.14
  if (::stat("/proc/self/ns/net", &inode) != 0) {
    return system_trouble("cannot look at /proc/self/ns/net", errno);
  }
  return inode.st_ino;
}

}  // namespace lb::host
