// SPDX-License-Identifier: Apache-2.0
// Frames for tests of the whole director, in words: who sends what to whom.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/forward/test_packet.hpp"
#include "net/address.hpp"

namespace lb::engine::test {

inline constexpr std::uint8_t kFin = net::kTcpFin;
inline constexpr std::uint8_t kSyn = net::kTcpSyn;
inline constexpr std::uint8_t kRst = net::kTcpRst;
inline constexpr std::uint8_t kAck = net::kTcpAck;

inline net::IpAddress ip(std::string_view text) { return net::IpAddress::from_text(text).value(); }

inline net::Port port_of(unsigned number) {
  return net::Port::from_host(static_cast<std::uint16_t>(number));
}

inline net::Endpoint end(std::string_view address, unsigned port) {
  return {ip(address), port_of(port)};
}

inline TestPacket between(net::Protocol protocol, const net::Endpoint& from,
                          const net::Endpoint& to) {
  TestPacket packet;
  packet.source = from.address;
  packet.destination = to.address;
  packet.protocol = protocol;
  packet.source_port = from.port.to_host();
  packet.destination_port = to.port.to_host();
  return packet;
}

/// Writes the checksum of a transport segment that `packet` carries anew.
inline void seal(const TestPacket& packet, Frame& segment, std::size_t checksum_at) {
  const std::span<std::byte> bytes(segment);
  net::store(bytes, checksum_at, net::Be16());
  const bool is_icmpv4 = packet.protocol == net::Protocol::kIcmp;
  net::store(bytes, checksum_at,
             is_icmpv4 ? net::internet_checksum(bytes)
                       : net::transport_checksum(packet.source, packet.destination, packet.protocol,
                                                 bytes));
}

/// A TCP segment with `flags` (net::TcpFlag bits).
inline Frame tcp(const TestPacket& packet, std::uint8_t flags) {
  constexpr std::size_t kFlags = 13;
  constexpr std::size_t kChecksum = 16;
  Frame segment = segment_of(packet);
  segment[kFlags] = std::byte{flags};
  seal(packet, segment, kChecksum);
  return build(packet, segment);
}

inline Frame tcp(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t flags,
                 std::size_t payload = 0) {
  auto packet = between(net::Protocol::kTcp, from, to);
  packet.payload = pattern(payload);
  return tcp(packet, flags);
}

inline Frame udp(const net::Endpoint& from, const net::Endpoint& to, std::size_t payload = 16) {
  auto packet = between(net::Protocol::kUdp, from, to);
  packet.payload = pattern(payload);
  return build(packet);
}

/// An SCTP packet with one chunk of 20 bytes.
inline Frame sctp(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t chunk_type) {
  constexpr std::size_t kChunk = 20;
  auto packet = between(net::Protocol::kSctp, from, to);
  packet.payload.resize(kChunk);
  packet.payload[0] = std::byte{chunk_type};
  packet.payload[3] = std::byte{kChunk};
  return build(packet);
}

/// The ICMP (or ICMPv6) error `type`, `code` from `router` to `to` about the packet in `about`.
/// `rest` is the second word: the MTU, mostly 0.
inline Frame icmp_error(const net::IpAddress& router, const net::IpAddress& to,
                        std::span<const std::byte> about, std::uint8_t type, std::uint8_t code,
                        std::uint32_t rest = 0) {
  constexpr std::size_t kHeader = 8;
  constexpr std::size_t kMostQuoted = 512;
  constexpr std::size_t kLink = 14;
  auto packet = between(router.is_v4() ? net::Protocol::kIcmp : net::Protocol::kIcmpv6,
                        {router, {}}, {to, {}});
  packet.dont_fragment = false;
  const auto quoted = about.subspan(kLink, std::min(about.size() - kLink, kMostQuoted));
  Frame segment(kHeader);
  segment[0] = std::byte{type};
  segment[1] = std::byte{code};
  net::store(std::span(segment), 4, net::Be32::from_host(rest));
  segment.insert(segment.end(), quoted.begin(), quoted.end());
  seal(packet, segment, 2);
  return build(packet, segment);
}

inline Frame port_unreachable(const net::IpAddress& router, const net::IpAddress& to,
                              std::span<const std::byte> about) {
  return router.is_v4() ? icmp_error(router, to, about, 3, 3) : icmp_error(router, to, about, 1, 4);
}

/// The IPv4 fragment of `frame` that begins at byte `offset` of the payload and has `size` bytes
/// of it (fewer at the end).
inline Frame fragment_of(const Frame& frame, std::size_t offset, std::size_t size) {
  constexpr std::size_t kHeaders = 14 + 20;
  const std::size_t whole = frame.size() - kHeaders;
  const std::size_t here = std::min(size, whole - offset);
  Frame fragment(frame.begin(), frame.begin() + kHeaders);
  const auto data = std::span(frame).subspan(kHeaders + offset, here);
  fragment.insert(fragment.end(), data.begin(), data.end());
  const auto header = std::span(fragment).subspan(14, 20);
  const std::size_t more = offset + here < whole ? 0x2000U : 0U;
  net::store(header, 2, be16(20 + here));
  net::store(header, 6, be16(more | offset / 8));
  net::store(header, 10, net::Be16());
  net::store(header, 10, net::internet_checksum(header));
  return fragment;
}

}  // namespace lb::engine::test
