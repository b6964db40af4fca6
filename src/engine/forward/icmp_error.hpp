// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/network_view.hpp"
#include "engine/verdict.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// An ICMP error by its wire values.
struct IcmpError {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;  ///< the four bytes after the checksum: the MTU of "too big"

  [[nodiscard]] static IcmpError port_unreachable(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? IcmpError{3, 3, 0} : IcmpError{1, 4, 0};
  }
  [[nodiscard]] static IcmpError host_unreachable(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? IcmpError{3, 1, 0} : IcmpError{1, 3, 0};
  }
  [[nodiscard]] static IcmpError no_route(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? IcmpError{3, 0, 0} : IcmpError{1, 0, 0};
  }
  [[nodiscard]] static IcmpError time_exceeded(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? IcmpError{11, 0, 0} : IcmpError{3, 0, 0};
  }
  /// Fragmentation needed, packet too big.
  [[nodiscard]] static IcmpError too_big(net::Family family, std::uint32_t mtu) noexcept {
    return family == net::Family::kIpv4 ? IcmpError{3, 4, mtu} : IcmpError{2, 0, mtu};
  }
};

/// Tells the sender of a packet about `error`: builds the ICMP message about the packet that
/// `headers` describe in `bytes` (as it came, or as quoted by another error: what follows
/// `headers.end` is not used), and adds it to `outputs` with where it goes.
///
/// It comes from the packet's destination if that is the director's own address, else from the
/// address the director would use towards the sender. Quotes as much as fits 576 bytes (RFC 1812,
/// 4.3.2.3), with IPv6 1280 (RFC 4443, 2.4). `identification` is of the IPv4 header.
///
/// False if none was sent: about an ICMP error, a fragment other than the first, a multicast or
/// broadcast packet, from a sender that is no single host (RFC 1122, 3.2.2; RFC 4443, 2.4), no
/// route back, or `outputs` full.
bool send_icmp_error(std::span<const std::byte> bytes, const net::Headers& headers,
                     const IcmpError& error, net::Be16 identification, const NetworkView& network,
                     Outputs& outputs) noexcept;

}  // namespace lb::engine
