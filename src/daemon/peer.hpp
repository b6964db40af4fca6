// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace lb::daemon {

/// Who is at the other end of a connected Unix socket, as the kernel noted it on connect().
struct Peer {
  pid_t process = 0;
  uid_t user = 0;
  bool is_privileged = false;  ///< may use the control protocol
};

/// Asks the kernel about `socket`'s peer. Privileged are root, the members of `group`, and
/// processes with CAP_NET_ADMIN in this process's own user namespace, as far as the kernel can
/// name a process beyond doubt (SO_PEERPIDFD, Linux 6.5). Null: the peer is gone.
[[nodiscard]] std::optional<Peer> identify_peer(int socket, std::optional<gid_t> group);

/// The first capability that serving packets needs and this process lacks; null: none.
[[nodiscard]] std::optional<std::string_view> missing_capability();

}  // namespace lb::daemon
