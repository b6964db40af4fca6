// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <cstdint>

#include "model/mark_rule.hpp"
#include "net/address.hpp"

namespace lb::engine {

/// Ports of the host's own sockets, which SNAT does not give away on the host's own addresses.
///
/// Said once for all addresses and both families: a port that is taken on one is left alone on all.
struct HostPorts {
  std::bitset<1U << 16> tcp;
  std::bitset<1U << 16> udp;
  /// Where the host's connections get their ports from (net.ipv4.ip_local_port_range).
  model::PortRange ephemeral{32768, 60999};

  [[nodiscard]] bool uses(net::Protocol protocol, std::uint16_t port) const noexcept {
    return (protocol == net::Protocol::kTcp && tcp[port]) ||
           (protocol == net::Protocol::kUdp && udp[port]);
  }
};

}  // namespace lb::engine
