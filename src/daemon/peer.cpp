// SPDX-License-Identifier: Apache-2.0
#include "daemon/peer.hpp"

#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/file_descriptor.hpp"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // linux/asm-generic/socket.h, since 6.5
#endif

namespace lb::daemon {
namespace {

/// The effective capabilities in /proc/`process`/status; 0 if they cannot be read.
std::uint64_t effective_capabilities(std::string_view process) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  constexpr std::string_view kKey = "CapEff:\t";
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kKey)) continue;
    std::uint64_t bits = 0;
    std::from_chars(line.data() + kKey.size(), line.data() + line.size(), bits, 16);
    return bits;
  }
  return 0;
}

constexpr bool has(std::uint64_t capabilities, unsigned number) {
  return ((capabilities >> number) & 1U) != 0;
}

// Whoever makes a user namespace has all capabilities there, and none that count here.
bool shares_user_namespace(std::string_view process) {
  struct stat own {};
  struct stat theirs {};
  return ::stat("/proc/self/ns/user", &own) == 0 &&
         ::stat(fmt::format("/proc/{}/ns/user", process).c_str(), &theirs) == 0 &&
         own.st_dev == theirs.st_dev && own.st_ino == theirs.st_ino;
}

bool is_network_administrator(int socket, pid_t process) {
  int raw = -1;
  socklen_t length = sizeof(raw);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &raw, &length) != 0) return false;
  const FileDescriptor pidfd(raw);
  const auto name = fmt::format("{}", process);
  const bool capable =
      has(effective_capabilities(name), CAP_NET_ADMIN) && shares_user_namespace(name);
  // Readable: the process has ended, and what /proc told may be about another that got its number.
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return capable && ::poll(&ended, 1, 0) == 0;
}

bool is_in_group(int socket, gid_t primary, gid_t group) {
  if (primary == group) return true;
  std::vector<gid_t> groups(64);
  auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) != 0) {
    if (errno != ERANGE) return false;
    groups.resize(length / sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) != 0) return false;
  }
  groups.resize(length / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

}  // namespace

std::optional<Peer> identify_peer(int socket, std::optional<gid_t> group) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return {};
  const bool is_privileged = credentials.uid == 0 ||
                             (group && is_in_group(socket, credentials.gid, *group)) ||
                             is_network_administrator(socket, credentials.pid);
  return Peer{.process = credentials.pid, .user = credentials.uid, .is_privileged = is_privileged};
}

std::optional<std::string_view> missing_capability() {
  const auto own = effective_capabilities("self");
  if (has(own, CAP_SYS_ADMIN) && has(own, CAP_NET_ADMIN) && has(own, CAP_NET_RAW)) return {};
  struct Needed {
    unsigned number;
    std::string_view name;
  };
  for (const auto& [number, name] : std::to_array<Needed>({{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                           {CAP_NET_RAW, "CAP_NET_RAW"},
                                                           {CAP_BPF, "CAP_BPF"},
                                                           {CAP_PERFMON, "CAP_PERFMON"}})) {
    if (!has(own, number)) return name;
  }
  return {};
}

}  // namespace lb::daemon
