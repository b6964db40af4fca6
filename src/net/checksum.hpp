// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/address.hpp"

namespace lb::net {

/// A running one's complement sum (RFC 1071). Sixteen-bit words are added as they lie in memory,
/// so nothing is swapped on the way; `sum` and `checksum` give them back in network order.
///
/// The last bytes added may be of odd number; everything added before must be even.
class InternetSum {
 public:
  void add(std::span<const std::byte> bytes) noexcept;
  void add(Be16 word) noexcept { sum_ += word.to_network(); }
  void add(Be32 word) noexcept { sum_ += word.to_network(); }
  void add(const IpAddress& address) noexcept {
    const auto words = std::bit_cast<std::array<std::uint32_t, 4>>(address.bytes());
    sum_ += std::uint64_t{words[0]} + words[1] + words[2] + words[3];
  }
  /// The pseudo header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1).
  void add_pseudo_header(const IpAddress& source, const IpAddress& destination, Protocol protocol,
                         std::uint32_t length) noexcept {
    add(source);
    add(destination);
    add(Be32::from_host(length));
    add(Be32::from_host(static_cast<std::uint32_t>(protocol)));
  }

  /// The sum itself, folded to 16 bits.
  [[nodiscard]] Be16 sum() const noexcept { return Be16::from_network(fold(sum_)); }
  /// Its complement: what goes into a checksum field that was zero (or left out) when summing.
  [[nodiscard]] Be16 checksum() const noexcept {
    return Be16::from_network(static_cast<std::uint16_t>(~fold(sum_)));
  }

  /// Adds the carries back until 16 bits remain.
  [[nodiscard]] static constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    return static_cast<std::uint16_t>(sum);
  }

 private:
  std::uint64_t sum_ = 0;
};

/// What changed under a checksum (RFC 1624, equation 3): collects replaced words, then gives
/// the new checksum from the old. A wrong checksum stays wrong by the same amount.
class ChecksumUpdate {
 public:
  void replace(Be16 old_word, Be16 new_word) noexcept {
    sum_ += static_cast<std::uint16_t>(~old_word.to_network());
    sum_ += new_word.to_network();
  }
  void replace(Be32 old_word, Be32 new_word) noexcept {
    sum_ += static_cast<std::uint32_t>(~old_word.to_network());
    sum_ += new_word.to_network();
  }
  /// The two may be of one family only.
  void replace(const IpAddress& old_address, const IpAddress& new_address) noexcept {
    const auto from = std::bit_cast<std::array<std::uint32_t, 4>>(old_address.bytes());
    const auto to = std::bit_cast<std::array<std::uint32_t, 4>>(new_address.bytes());
    const std::size_t words = old_address.size() / 4;
    for (std::size_t i = 0; i < words; ++i) sum_ += std::uint64_t{~from[i]} + to[i];
  }
  [[nodiscard]] Be16 apply(Be16 checksum) const noexcept {
    const auto inverted = static_cast<std::uint16_t>(~checksum.to_network());
    return Be16::from_network(static_cast<std::uint16_t>(~InternetSum::fold(sum_ + inverted)));
  }

 private:
  std::uint64_t sum_ = 0;
};

/// The checksum over `segment` (TCP, UDP, ICMPv6, ...) with its pseudo header. The checksum field
/// inside `segment` must be zero; over a segment with a right checksum the result is 0.
[[nodiscard]] Be16 transport_checksum(const IpAddress& source, const IpAddress& destination,
                                      Protocol protocol,
                                      std::span<const std::byte> segment) noexcept;

/// The plain Internet checksum of `bytes`: IPv4 header, ICMPv4.
[[nodiscard]] Be16 internet_checksum(std::span<const std::byte> bytes) noexcept;

/// CRC32c of `bytes` (RFC 9260, appendix A); `crc` continues an earlier result, start with 0.
/// The value is stored in little-endian order in SCTP.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes,
                                   std::uint32_t crc = 0) noexcept;

/// The checksum of an SCTP packet as it goes into bytes 8..11, which count as zero.
/// `packet` holds at least the common header of 12 bytes.
[[nodiscard]] Be32 sctp_checksum(std::span<const std::byte> packet) noexcept;

}  // namespace lb::net
