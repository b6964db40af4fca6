// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "model/destination.hpp"
#include "net/address.hpp"
#include "net/packet.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// How to wrap a packet for a real server: outer header from `source` to `destination`.
struct Tunnel {
  model::TunnelSpec spec;
  net::IpAddress source;
  net::IpAddress destination;
  bool copy_dont_fragment = true;  ///< pmtu_disc: DF of an IPv4 packet also on the outer header
  net::Be16 identification;        ///< of an outer IPv4 header without DF (with DF it is 0)
};

/// Bytes that the tunnel adds to the IP packet: outer IP header of `outer` and what follows.
[[nodiscard]] std::size_t tunnel_overhead(const model::TunnelSpec& spec,
                                          net::Family outer) noexcept;

/// The largest overhead there is, for headroom.
inline constexpr std::size_t kMaxTunnelOverhead = 40 + 8 + 4;

/// Prepends the outer headers; the link header moves to the new front and keeps its size, so
/// `headers.ip_offset` stays. Afterwards `headers` describe the outer packet. TTL and DSCP are
/// copied outward, ECN as RFC 3168, 9.1.1, has it (CE becomes ECT(0)). An unfinished checksum of
/// the inner packet is completed first. False, and nothing changed, without headroom or if the
/// packet would exceed 65535 bytes.
///
/// GUE: version 0, no options; the source port is a hash of the inner flow
/// (draft-ietf-intarea-gue). Remote checksum offload only ever concerns packets with an unfinished
/// checksum; they are finished here, so the flag means the same as the outer checksum, as in the
/// kernel.
[[nodiscard]] bool encapsulate(net::Packet& packet, net::Headers& headers,
                               const Tunnel& tunnel) noexcept;

}  // namespace lb::engine
