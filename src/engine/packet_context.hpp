// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "engine/burst.hpp"
#include "engine/forward/fragment.hpp"
#include "engine/network_view.hpp"
#include "engine/verdict.hpp"
#include "net/packet.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// A packet on its way through the director, with what the steps have found out about it.
struct PacketContext {
  net::Packet& packet;
  net::Headers& headers;
  InterfaceId ingress;
  Outputs& outputs;
  FragmentShape shape = {};  ///< how it came, if it was put together from fragments
  Ahead ahead = {};

  [[nodiscard]] bool is_from_host() const noexcept { return ingress == InterfaceId::kHost; }
  /// The IP payload, from the transport header on.
  [[nodiscard]] std::span<const std::byte> transport() const noexcept {
    const std::span<const std::byte> bytes = packet.bytes();
    return bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
  }
};

/// The ends of a flow as its client sends it: of a packet, or of one that an ICMP error quotes.
struct Flow {
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint client;
  net::Endpoint virtual_end;
};

/// ISAKMP: ESP and AH follow the connection of the key exchange, udp 500 to 500.
inline constexpr std::uint16_t kIsakmpPort = 500;

/// The flow of a request: its source is the client.
[[nodiscard]] inline Flow request_flow(const net::Headers& headers) noexcept {
  if (headers.protocol == net::Protocol::kEsp || headers.protocol == net::Protocol::kAh) {
    const auto port = net::Port::from_host(kIsakmpPort);
    return {net::Protocol::kUdp, {headers.source, port}, {headers.destination, port}};
  }
  return {headers.protocol,
          {headers.source, headers.source_port},
          {headers.destination, headers.destination_port}};
}

/// The flow that a packet answers: its destination is the client.
[[nodiscard]] inline Flow reply_flow(const net::Headers& headers) noexcept {
  auto flow = request_flow(headers);
  std::swap(flow.client, flow.virtual_end);
  return flow;
}

}  // namespace lb::engine
