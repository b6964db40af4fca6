// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "datapath/datapath.hpp"
#include "datapath/outcome.hpp"
#include "engine/host_ports.hpp"
#include "net/time.hpp"

namespace lb::engine {
class Director;
}

namespace lb::datapath {

/// The ports that the host's programs listen on (TCP) or have bound (UDP), and where its
/// connections get theirs from, as the kernel tells by NETLINK_SOCK_DIAG. Connections of TCP are
/// not asked for: there may be many, and their ports are those of listeners or of the ephemeral
/// range.
[[nodiscard]] Outcome<engine::HostPorts> read_host_ports();

/// Keeps a director's knowledge of the host's ports up to date while it has SNAT rules.
class HostPortsFollower {
 public:
  /// Asks the kernel if that is due: every five seconds. A failure is told once.
  void advance(engine::Director& director, Timestamp now, const Log& log);

 private:
  Timestamp next_{};
  bool has_warned_ = false;
};

}  // namespace lb::datapath
