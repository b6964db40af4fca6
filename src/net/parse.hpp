// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "net/address.hpp"

namespace lb::net {

/// TCP flag bits (RFC 9293, 3.1).
enum TcpFlag : std::uint8_t {
  kTcpFin = 0x01,
  kTcpSyn = 0x02,
  kTcpRst = 0x04,
  kTcpPsh = 0x08,
  kTcpAck = 0x10,
  kTcpUrg = 0x20,
};

/// Where the headers of an IP packet are and what they say. Offsets count from the first byte
/// of the span that was parsed; every header named here lies inside it.
struct Headers {
  IpAddress source;
  IpAddress destination;
  Protocol protocol =
      Protocol::kIp;            ///< of the transport header (IPv6: after the extension headers)
  std::uint16_t ip_offset = 0;  ///< of the IP header
  std::uint16_t transport_offset = 0;
  std::uint32_t end = 0;       ///< one past the IP packet; Ethernet padding lies beyond
  std::uint8_t ttl = 0;        ///< or hop limit
  std::uint8_t tos = 0;        ///< or traffic class
  bool dont_fragment = false;  ///< IPv4 DF; IPv6: always true
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;         ///< bytes
  std::uint16_t fragment_header_offset = 0;  ///< of the IPv6 fragment header; 0: none
  std::uint16_t next_header_offset = 0;      ///< of the byte that names `protocol`
  bool has_ports = false;                    ///< ports are present (TCP, UDP, SCTP first fragments)
  Port source_port;
  Port destination_port;
  bool has_transport_header = false;  ///< the whole fixed transport header is inside the packet
  std::uint8_t tcp_flags = 0;         ///< TcpFlag bits
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;

  [[nodiscard]] Family family() const noexcept { return source.family(); }
  [[nodiscard]] bool is_fragment() const noexcept { return more_fragments || fragment_offset != 0; }
  /// Size of the IP packet, header included.
  [[nodiscard]] std::size_t ip_size() const noexcept {
    return static_cast<std::size_t>(end) - ip_offset;
  }
};

enum class ParseError : std::uint8_t {
  kNotIp,      ///< another EtherType: nothing for a load balancer
  kTruncated,  ///< ends before a header or before the length that a header gives
  kBadHeader,  ///< wrong version, header length or IPv4 header checksum
};

using Parsed = tl::expected<Headers, ParseError>;

/// Parses an Ethernet frame with at most two VLAN tags (802.1Q, 802.1ad) in the packet.
[[nodiscard]] Parsed parse_frame(std::span<const std::byte> frame) noexcept;

/// Parses an IP packet that starts at `offset` of `bytes`.
[[nodiscard]] Parsed parse_ip(std::span<const std::byte> bytes, std::size_t offset) noexcept;

/// Parses the start of an IP packet as ICMP errors embed it (RFC 792, RFC 4443): the rest may
/// be cut off, the header checksum may be anything, `end` is where the bytes end.
[[nodiscard]] Parsed parse_embedded(std::span<const std::byte> bytes, std::size_t offset) noexcept;

}  // namespace lb::net
