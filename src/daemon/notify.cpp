// SPDX-License-Identifier: Apache-2.0
#include "daemon/notify.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "daemon/file_descriptor.hpp"
#include "daemon/log.hpp"

namespace lb::daemon {
namespace {

std::optional<std::int64_t> number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return {};
  const std::string_view digits = text;
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (failed != std::errc{} || end != digits.data() + digits.size() || number <= 0) {
    log(LogLevel::kWarning, fmt::format("{}: '{}' is not a number above 0", name, digits));
    return {};
  }
  return number;
}

}  // namespace

void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return;
  std::string name = path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof(address.sun_path)) {
    log(LogLevel::kWarning, "NOTIFY_SOCKET is not the address of a socket");
    return;
  }
  if (name[0] == '@') name[0] = '\0';  // the abstract name space
  std::memcpy(address.sun_path, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto* target = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (!socket ||
      ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, target, length) < 0) {
    log(LogLevel::kWarning,
        fmt::format("cannot tell the service manager '{}': {}", state, std::strerror(errno)));
  }
}

std::optional<std::chrono::microseconds> watchdog_limit() {
  const auto limit = number_in_environment("WATCHDOG_USEC");
  if (!limit) return {};
  // Set: the process that is watched; a child inherits it and is not.
  if (std::getenv("WATCHDOG_PID") != nullptr) {
    const auto watched = number_in_environment("WATCHDOG_PID");
    if (!watched || *watched != ::getpid()) return {};
  }
  return std::chrono::microseconds(*limit);
}

}  // namespace lb::daemon
