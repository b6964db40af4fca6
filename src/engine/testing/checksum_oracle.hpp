// SPDX-License-Identifier: Apache-2.0
// Checks every checksum of a frame by computing it in full, byte by byte, with nothing of net/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lb::engine::test {

/// What is wrong with the checksums of a frame; empty if nothing is. Knows Ethernet with VLAN tags,
/// IPv4, IPv6 with extension headers, TCP, UDP, SCTP, ICMP and ICMPv6, and packets in IPIP, GRE
/// and GUE tunnels. Fragments are checked as far as their IPv4 header.
class ChecksumOracle {
 public:
  [[nodiscard]] static std::string fault(std::span<const std::byte> frame) {
    std::size_t at = 12;
    while (half(frame, at) == 0x8100 || half(frame, at) == 0x88a8) at += 4;
    return ip(frame.subspan(std::min(at + 2, frame.size())));
  }

 private:
  using Bytes = std::span<const std::byte>;

  static std::uint32_t octet(Bytes bytes, std::size_t at) {
    return at < bytes.size() ? std::to_integer<std::uint32_t>(bytes[at]) : 0;
  }
  static std::uint32_t half(Bytes bytes, std::size_t at) {
    return octet(bytes, at) * 256 + octet(bytes, at + 1);
  }
  // RFC 1071, 4.1 in the plainest form: 0xffff if the checksum inside is right.
  static std::uint32_t sum(Bytes bytes, std::uint32_t start = 0) {
    std::uint64_t total = start;
    for (std::size_t i = 0; i < bytes.size(); i += 2) total += half(bytes, i);
    while (total > 0xffff) total = (total & 0xffff) + (total >> 16U);
    return static_cast<std::uint32_t>(total);
  }
  // RFC 9260, appendix A, a bit at a time.
  static std::uint32_t crc(Bytes bytes) {
    std::uint32_t value = 0xffffffff;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      value ^= i >= 8 && i < 12 ? 0 : octet(bytes, i);
      for (int bit = 0; bit < 8; ++bit) {
        value = (value & 1U) != 0 ? (value >> 1U) ^ 0x82f63b78U : value >> 1U;
      }
    }
    return ~value;
  }

  static std::string ip(Bytes bytes) {
    const auto version = octet(bytes, 0) >> 4U;
    if (version == 4) return v4(bytes);
    if (version == 6) return v6(bytes);
    return "not IP";
  }

  static std::string v4(Bytes bytes) {
    const std::size_t header = (octet(bytes, 0) & 15U) * 4;
    const std::size_t length = half(bytes, 2);
    if (header < 20 || length < header || length > bytes.size()) return "IPv4 length";
    if (sum(bytes.first(header)) != 0xffff) return "IPv4 header checksum";
    if ((half(bytes, 6) & 0x3fffU) != 0) return {};
    return transport(octet(bytes, 9), bytes.subspan(12, 8), bytes.subspan(header, length - header));
  }

  static std::string v6(Bytes bytes) {
    const std::size_t length = 40 + half(bytes, 4);
    if (length > bytes.size()) return "IPv6 length";
    auto next = octet(bytes, 6);
    std::size_t at = 40;
    while (next == 0 || next == 43 || next == 60 || next == 44) {
      if (next == 44 && (half(bytes, at + 2) & 0xfff9U) != 0) return {};
      const std::size_t size = next == 44 ? 8 : octet(bytes, at + 1) * 8 + 8;
      next = octet(bytes, at);
      at += size;
      if (at > length) return "IPv6 extension header";
    }
    return transport(next, bytes.subspan(8, 32), bytes.subspan(at, length - at));
  }

  static std::string transport(std::uint32_t protocol, Bytes addresses, Bytes bytes) {
    const auto pseudo = sum(addresses, protocol + static_cast<std::uint32_t>(bytes.size()));
    switch (protocol) {
      case 6:
        return sum(bytes, pseudo) == 0xffff ? "" : "TCP checksum";
      case 17:
        return udp(addresses, bytes, pseudo);
      case 1:
        return sum(bytes) == 0xffff ? "" : "ICMP checksum";
      case 58:
        return sum(bytes, pseudo) == 0xffff ? "" : "ICMPv6 checksum";
      case 132:
        return sctp(bytes);
      case 4:
      case 41:
        return ip(bytes);
      case 47:
        return gre(bytes);
      default:
        return {};
    }
  }

  static std::string udp(Bytes addresses, Bytes bytes, std::uint32_t pseudo) {
    constexpr std::uint32_t kGuePort = 6080;
    const bool has_checksum = half(bytes, 6) != 0;
    const bool is_gue = half(bytes, 2) == kGuePort;
    // Over IPv6 only tunnels may do without (RFC 6935, 5).
    if (!has_checksum && addresses.size() > 8 && !is_gue) return "UDP without checksum over IPv6";
    if (has_checksum && sum(bytes, pseudo) != 0xffff) return "UDP checksum";
    if (!is_gue) return {};
    const std::size_t header = 8 + 4 + (octet(bytes, 8) & 31U) * 4;
    return header > bytes.size() ? "GUE length" : ip(bytes.subspan(header));
  }

  static std::string sctp(Bytes bytes) {
    const auto value = crc(bytes);
    for (std::size_t i = 0; i < 4; ++i) {
      if (octet(bytes, 8 + i) != ((value >> (8 * i)) & 255U)) return "SCTP checksum";
    }
    return {};
  }

  static std::string gre(Bytes bytes) {
    const bool has_checksum = (octet(bytes, 0) & 0x80U) != 0;
    if (has_checksum && sum(bytes) != 0xffff) return "GRE checksum";
    return ip(bytes.subspan(std::min<std::size_t>(has_checksum ? 8 : 4, bytes.size())));
  }
};

}  // namespace lb::engine::test
