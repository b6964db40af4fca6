// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace lb::net {

/// An integer kept in network byte order. Its only ways in and out are `from_host` and
/// `to_host`, so that a host-order value can never be mistaken for one from a packet.
template <class Int>
class BigEndian {
 public:
  constexpr BigEndian() = default;

  [[nodiscard]] static constexpr BigEndian from_host(Int value) noexcept {
    return BigEndian(swapped(value));
  }
  /// Takes bits that are in network order already, as loaded from a packet.
  [[nodiscard]] static constexpr BigEndian from_network(Int raw) noexcept { return BigEndian(raw); }

  [[nodiscard]] constexpr Int to_host() const noexcept { return swapped(raw_); }
  [[nodiscard]] constexpr Int to_network() const noexcept { return raw_; }

  friend constexpr bool operator==(BigEndian, BigEndian) = default;
  /// Orders by numeric value.
  friend constexpr auto operator<=>(BigEndian a, BigEndian b) noexcept {
    return a.to_host() <=> b.to_host();
  }

 private:
  explicit constexpr BigEndian(Int raw) noexcept : raw_(raw) {}

  static constexpr Int swapped(Int value) noexcept {
    if constexpr (std::endian::native == std::endian::big) {
      return value;
    } else if constexpr (sizeof(Int) == 2) {
      return __builtin_bswap16(value);
    } else {
      return __builtin_bswap32(value);
    }
  }

  Int raw_ = 0;
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;

/// A TCP, UDP or SCTP port.
using Port = Be16;

}  // namespace lb::net
