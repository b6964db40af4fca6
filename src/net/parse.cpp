// SPDX-License-Identifier: Apache-2.0
#include "net/parse.hpp"

#include <algorithm>
#include <array>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::net {
namespace {

constexpr std::size_t kEthernetSize = 14;
constexpr std::size_t kVlanTagSize = 4;
constexpr int kMaxVlanTags = 2;

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv6Size = 40;
/// More extension headers than this are an attack, not a packet (RFC 8504, 5.3, allows a limit).
constexpr int kMaxExtensionHeaders = 16;

constexpr std::uint16_t kIpv4DontFragment = 0x4000;
constexpr std::uint16_t kIpv4MoreFragments = 0x2000;
constexpr std::uint16_t kIpv4OffsetMask = 0x1fff;
constexpr std::uint16_t kIpv6MoreFragments = 0x0001;
constexpr std::uint16_t kIpv6OffsetMask = 0xfff8;

/// Whether the packet must be complete, or is what an ICMP error quotes of one.
enum class Extent { kWhole, kEmbedded };

using Bytes = std::span<const std::byte>;

tl::unexpected<ParseError> error(ParseError code) noexcept {
  return tl::unexpected<ParseError>(code);
}

std::uint8_t byte_at(Bytes bytes, std::size_t offset) noexcept {
  return std::to_integer<std::uint8_t>(bytes[offset]);
}

std::uint16_t host16(Bytes bytes, std::size_t offset) noexcept {
  return load<Be16>(bytes, offset).to_host();
}

/// Reads what there is of the transport header between `transport_offset` and `end`.
void read_transport(Bytes bytes, Headers& headers) noexcept {
  if (headers.fragment_offset != 0) return;
  const std::size_t at = headers.transport_offset;
  const std::size_t size = headers.end - at;
  switch (headers.protocol) {
    case Protocol::kTcp:
    case Protocol::kUdp:
    case Protocol::kSctp:
      if (size < 4) return;
      headers.has_ports = true;
      headers.source_port = load<Port>(bytes, at);
      headers.destination_port = load<Port>(bytes, at + 2);
      if (headers.protocol == Protocol::kTcp) {
        headers.has_transport_header = size >= 20;
        if (size >= 14) headers.tcp_flags = byte_at(bytes, at + 13) & 0x3fU;
      } else {
        headers.has_transport_header = size >= (headers.protocol == Protocol::kUdp ? 8U : 12U);
      }
      return;
    case Protocol::kIcmp:
    case Protocol::kIcmpv6:
      if (size >= 2) {
        headers.icmp_type = byte_at(bytes, at);
        headers.icmp_code = byte_at(bytes, at + 1);
      }
      headers.has_transport_header = size >= 8;
      return;
    default:
      return;
  }
}

bool ipv4_checksum_holds(Bytes header) noexcept {
  if (header.size() != kIpv4Size) return internet_checksum(header) == Be16();
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < kIpv4Size; at += 4) sum += load<std::uint32_t>(header, at);
  return InternetSum::fold(sum) == 0xffff;
}

template <Extent extent>
Parsed parse_ipv4(Bytes bytes, std::size_t offset) noexcept {
  if (!holds(bytes, offset, kIpv4Size)) return error(ParseError::kTruncated);
  const Bytes ip = bytes.subspan(offset);
  const std::size_t header_size = (byte_at(ip, 0) & 0xfU) * std::size_t{4};
  if (header_size < kIpv4Size) return error(ParseError::kBadHeader);
  if (header_size > ip.size()) return error(ParseError::kTruncated);

  const std::size_t total = host16(ip, 2);
  if constexpr (extent == Extent::kWhole) {
    if (total < header_size) return error(ParseError::kBadHeader);
    if (total > ip.size()) return error(ParseError::kTruncated);
    if (!ipv4_checksum_holds(ip.first(header_size))) return error(ParseError::kBadHeader);
  }

  Parsed result{Headers{}};  // filled in place: copying it costs more than parsing
  Headers& headers = *result;
  headers.source = IpAddress::v4(load<Be32>(ip, 12));
  headers.destination = IpAddress::v4(load<Be32>(ip, 16));
  headers.protocol = static_cast<Protocol>(byte_at(ip, 9));
  headers.ip_offset = static_cast<std::uint16_t>(offset);
  headers.transport_offset = static_cast<std::uint16_t>(offset + header_size);
  headers.end =
      static_cast<std::uint32_t>(extent == Extent::kWhole ? offset + total : bytes.size());
  headers.next_header_offset = static_cast<std::uint16_t>(offset + 9);
  headers.ttl = byte_at(ip, 8);
  headers.tos = byte_at(ip, 1);
  const std::uint16_t fragment = host16(ip, 6);
  headers.dont_fragment = (fragment & kIpv4DontFragment) != 0;
  headers.more_fragments = (fragment & kIpv4MoreFragments) != 0;
  headers.fragment_offset = static_cast<std::uint16_t>((fragment & kIpv4OffsetMask) * 8);
  read_transport(bytes, headers);
  return result;
}

/// Walks the extension headers from `transport_offset` on. AH counts as a transport protocol:
/// what it protects can't be rewritten.
bool walk_extension_headers(Bytes bytes, Headers& headers) noexcept {
  std::size_t at = headers.transport_offset;
  for (int count = 0;; ++count) {
    std::size_t size = 0;
    switch (headers.protocol) {
      case Protocol::kIp:  // hop-by-hop options share the number 0
      case Protocol::kRouting:
      case Protocol::kDestinationOptions:
        if (at + 8 > headers.end) return false;
        size = (byte_at(bytes, at + 1) + std::size_t{1}) * 8;
        break;
      case Protocol::kFragment: {
        if (at + 8 > headers.end) return false;
        size = 8;
        const std::uint16_t field = host16(bytes, at + 2);
        headers.fragment_header_offset = static_cast<std::uint16_t>(at);
        headers.fragment_offset = field & kIpv6OffsetMask;
        headers.more_fragments = (field & kIpv6MoreFragments) != 0;
        break;
      }
      default:
        return true;
    }
    if (count == kMaxExtensionHeaders || at + size > headers.end) return false;
    headers.protocol = static_cast<Protocol>(byte_at(bytes, at));
    headers.next_header_offset = static_cast<std::uint16_t>(at);
    at += size;
    headers.transport_offset = static_cast<std::uint16_t>(at);
    if (headers.fragment_offset != 0) return true;  // what follows is not a header
  }
}

template <Extent extent>
Parsed parse_ipv6(Bytes bytes, std::size_t offset) noexcept {
  if (!holds(bytes, offset, kIpv6Size)) return error(ParseError::kTruncated);
  const Bytes ip = bytes.subspan(offset);
  const std::size_t total = kIpv6Size + host16(ip, 4);
  if (extent == Extent::kWhole && total > ip.size()) return error(ParseError::kTruncated);

  Parsed result{Headers{}};  // filled in place: copying it costs more than parsing
  Headers& headers = *result;
  headers.source = IpAddress::v6(load<std::array<std::uint8_t, 16>>(ip, 8));
  headers.destination = IpAddress::v6(load<std::array<std::uint8_t, 16>>(ip, 24));
  headers.protocol = static_cast<Protocol>(byte_at(ip, 6));
  headers.ip_offset = static_cast<std::uint16_t>(offset);
  headers.transport_offset = static_cast<std::uint16_t>(offset + kIpv6Size);
  headers.end =
      static_cast<std::uint32_t>(extent == Extent::kWhole ? offset + total : bytes.size());
  headers.next_header_offset = static_cast<std::uint16_t>(offset + 6);
  headers.ttl = byte_at(ip, 7);
  headers.tos = static_cast<std::uint8_t>(host16(ip, 0) >> 4U);
  headers.dont_fragment = true;
  if (!walk_extension_headers(bytes, headers)) return error(ParseError::kTruncated);
  read_transport(bytes, headers);
  return result;
}

template <Extent extent>
Parsed parse_any(Bytes bytes, std::size_t offset) noexcept {
  // Offsets of headers are kept in 16 bits.
  if (offset >= bytes.size() || offset > 0x7fff) return error(ParseError::kTruncated);
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), 0xffff + offset + kIpv6Size));
  switch (byte_at(bytes, offset) >> 4U) {
    case 4:
      return parse_ipv4<extent>(bytes, offset);
    case 6:
      return parse_ipv6<extent>(bytes, offset);
    default:
      return error(ParseError::kBadHeader);
  }
}

}  // namespace

Parsed parse_frame(Bytes frame) noexcept {
  constexpr std::uint16_t kEtherIpv4 = 0x0800;
  constexpr std::uint16_t kEtherIpv6 = 0x86dd;
  constexpr std::uint16_t kEtherVlan = 0x8100;
  constexpr std::uint16_t kEtherServiceVlan = 0x88a8;

  if (frame.size() < kEthernetSize) return error(ParseError::kTruncated);
  std::size_t offset = kEthernetSize;
  std::uint16_t type = host16(frame, offset - 2);
  for (int tags = 0; tags < kMaxVlanTags && (type == kEtherVlan || type == kEtherServiceVlan);
       ++tags) {
    if (!holds(frame, offset, kVlanTagSize)) return error(ParseError::kTruncated);
    offset += kVlanTagSize;
    type = host16(frame, offset - 2);
  }
  if (type != kEtherIpv4 && type != kEtherIpv6) return error(ParseError::kNotIp);
  if (offset >= frame.size()) return error(ParseError::kTruncated);
  const unsigned version = type == kEtherIpv4 ? 4 : 6;
  if (byte_at(frame, offset) >> 4U != version) return error(ParseError::kBadHeader);
  return parse_any<Extent::kWhole>(frame, offset);
}

Parsed parse_ip(Bytes bytes, std::size_t offset) noexcept {
  return parse_any<Extent::kWhole>(bytes, offset);
}

Parsed parse_embedded(Bytes bytes, std::size_t offset) noexcept {
  return parse_any<Extent::kEmbedded>(bytes, offset);
}

}  // namespace lb::net
