// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "net/byte_order.hpp"

namespace lb::net {

/// Address family; the values are those of AF_INET and AF_INET6.
enum class Family : std::uint8_t { kIpv4 = 2, kIpv6 = 10 };

/// An IP protocol number. `kIp` (0) is what a persistence template of a firewall mark carries.
enum class Protocol : std::uint8_t {
  kIp = 0,
  kIcmp = 1,
  kIpip = 4,
  kTcp = 6,
  kUdp = 17,
  kIpv6 = 41,
  kRouting = 43,
  kFragment = 44,
  kGre = 47,
  kEsp = 50,
  kAh = 51,
  kIcmpv6 = 58,
  kNoNext = 59,
  kDestinationOptions = 60,
  kSctp = 132,
};

/// True if the bytes are equal; two words, since a call of memcmp costs more than all the rest of a
/// look-up that compares addresses.
[[nodiscard]] constexpr bool is_equal(const std::array<std::uint8_t, 16>& a,
                                      const std::array<std::uint8_t, 16>& b) noexcept {
  const auto x = std::bit_cast<std::array<std::uint64_t, 2>>(a);
  const auto y = std::bit_cast<std::array<std::uint64_t, 2>>(b);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/// An IPv4 or IPv6 address with its family. An IPv4 address is held in the first four
/// bytes, the rest is zero, so that comparison and hashing need not look at the family first.
class IpAddress {
 public:
  /// 0.0.0.0
  constexpr IpAddress() = default;

  [[nodiscard]] static constexpr IpAddress v4(Be32 address) noexcept {
    IpAddress result;
    if (std::is_constant_evaluated()) {
      result.bytes_ = std::bit_cast<std::array<std::uint8_t, 16>>(
          std::array<std::uint32_t, 4>{address.to_network(), 0, 0, 0});
      return result;
    }
    // One store of 16 bytes, for the readers load as much at once; compilers make it so only of a
    // vector.
    using Words __attribute__((vector_size(16))) = std::uint32_t;
    const Words words{address.to_network(), 0, 0, 0};
    std::memcpy(result.bytes_.data(), &words, sizeof words);
    return result;
  }
  [[nodiscard]] static constexpr IpAddress v6(const std::array<std::uint8_t, 16>& bytes) noexcept {
    IpAddress result;
    result.family_ = Family::kIpv6;
    result.bytes_ = bytes;
    return result;
  }
  /// The all-zero address of `family`.
  [[nodiscard]] static constexpr IpAddress any(Family family) noexcept {
    IpAddress result;
    result.family_ = family;
    return result;
  }
  /// Reads dotted-quad or RFC 4291 text; null if it is neither.
  [[nodiscard]] static std::optional<IpAddress> from_text(std::string_view text) noexcept;

  [[nodiscard]] constexpr Family family() const noexcept { return family_; }
  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == Family::kIpv4; }
  /// 4 or 16.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return is_v4() ? 4 : 16; }
  /// All 16 bytes; those of an IPv4 address are the first four.
  [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& bytes() const noexcept {
    return bytes_;
  }
  /// The 32-bit word number `index` (0..3), in network order; IPv4 is word 0.
  [[nodiscard]] constexpr Be32 word(std::size_t index) const noexcept {
    return Be32::from_network(std::bit_cast<std::array<std::uint32_t, 4>>(bytes_)[index]);
  }

  [[nodiscard]] bool is_unspecified() const noexcept;
  [[nodiscard]] bool is_multicast() const noexcept;
  /// 255.255.255.255
  [[nodiscard]] bool is_broadcast() const noexcept;
  /// 127.0.0.0/8 or ::1
  [[nodiscard]] bool is_loopback() const noexcept;
  /// fe80::/10
  [[nodiscard]] bool is_link_local_v6() const noexcept;
  /// The first `length` bits, the rest cleared; `length` beyond the family's width keeps all.
  [[nodiscard]] IpAddress prefix(unsigned length) const noexcept;
  /// inet_ntop's text.
  [[nodiscard]] std::string to_text() const;

  friend constexpr bool operator==(const IpAddress& a, const IpAddress& b) noexcept {
    return is_equal(a.bytes_, b.bytes_) && a.family_ == b.family_;
  }
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  Family family_ = Family::kIpv4;
};

/// An Ethernet hardware address.
struct Mac {
  std::array<std::uint8_t, 6> bytes{};

  /// Reads six hexadecimal pairs with colons; null if it is anything else.
  [[nodiscard]] static std::optional<Mac> from_text(std::string_view text) noexcept;
  [[nodiscard]] std::string to_text() const;
  friend constexpr bool operator==(const Mac&, const Mac&) = default;
};

/// An address with a port: one end of a conversation.
struct Endpoint {
  IpAddress address;
  Port port;
  friend constexpr bool operator==(const Endpoint&, const Endpoint&) = default;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace lb::net
