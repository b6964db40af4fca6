// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <utility>

#include "engine/forward/echo.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// The ends of a packet as SNAT files them. Of an ICMP echo the inside host's end has the
/// identifier for its port, and the end outside has port 0; which of the two the sender is, the
/// direction tells.
struct SnatFlow {
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint inside;   ///< or, of a packet from outside, what takes its place
  net::Endpoint outside;  ///< the host outside
};

/// The flow of a packet from inside, perhaps one that an ICMP error quotes; null: SNAT does not
/// translate what it is.
[[nodiscard]] inline std::optional<SnatFlow> flow_from_inside(
    std::span<const std::byte> bytes, const net::Headers& headers) noexcept {
  switch (headers.protocol) {
    case net::Protocol::kTcp:
    case net::Protocol::kUdp:
      if (!headers.has_ports) return std::nullopt;
      return SnatFlow{headers.protocol,
                      {headers.source, headers.source_port},
                      {headers.destination, headers.destination_port}};
    case net::Protocol::kIcmp:
    case net::Protocol::kIcmpv6: {
      const auto identifier = echo_identifier(bytes, headers);
      if (!identifier) return std::nullopt;
      return SnatFlow{
          headers.protocol, {headers.source, *identifier}, {headers.destination, net::Port{}}};
    }
    default:
      return std::nullopt;
  }
}

/// The same of a packet from outside: its destination is the inside host's end.
[[nodiscard]] inline std::optional<SnatFlow> flow_from_outside(
    std::span<const std::byte> bytes, const net::Headers& headers) noexcept {
  auto flow = flow_from_inside(bytes, headers);
  if (!flow) return flow;
  std::swap(flow->inside.address, flow->outside.address);
  if (headers.has_ports) std::swap(flow->inside.port, flow->outside.port);
  return flow;
}

}  // namespace lb::engine
