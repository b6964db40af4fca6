// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "net/address.hpp"

namespace lb::engine {

/// An address as the 32-bit number that dh, sh and mh hash: IPv4 the address, IPv6 the xor of its
/// four words. It goes by the family of the service, also where a server is of the other one.
[[nodiscard]] constexpr std::uint32_t folded(const net::IpAddress& address,
                                             net::Family family) noexcept {
  std::uint32_t result = address.word(0).to_host();
  if (family == net::Family::kIpv6) {
    for (std::size_t i = 1; i < 4; ++i) result ^= address.word(i).to_host();
  }
  return result;
}

/// True if the first two bytes of this protocol's header are the source port.
[[nodiscard]] constexpr bool has_ports(net::Protocol protocol) noexcept {
  using enum net::Protocol;
  return protocol == kTcp || protocol == kUdp || protocol == kSctp;
}

/// Multiplicative hash to 0..255: the upper bits of the product with 2^32 / golden ratio, as
/// the hash_32 of Linux.
[[nodiscard]] constexpr std::uint32_t golden_hash_8(std::uint32_t value) noexcept {
  return (value * 0x61C88647U) >> 24;
}

}  // namespace lb::engine
