// SPDX-License-Identifier: Apache-2.0
// Packets for the tests of this folder: built field by field, with right checksums.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/bytes.hpp"
#include "net/checksum.hpp"
#include "net/parse.hpp"

namespace lb::engine::test {

using Frame = std::vector<std::byte>;

struct TestPacket {
  net::IpAddress source = *net::IpAddress::from_text("198.51.100.7");
  net::IpAddress destination = *net::IpAddress::from_text("192.0.2.10");
  net::Protocol protocol = net::Protocol::kTcp;
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = 80;
  std::uint8_t ttl = 63;
  std::uint8_t tos = 0;
  bool dont_fragment = true;
  std::uint16_t identification = 1;
  Frame payload;
  std::size_t link_size = 14;
};

inline net::Be16 be16(std::size_t value) {
  return net::Be16::from_host(static_cast<std::uint16_t>(value));
}

/// The transport segment of `packet`: ports, checksum, payload; other fields are fixed.
inline Frame segment_of(const TestPacket& packet) {
  const bool is_tcp = packet.protocol == net::Protocol::kTcp;
  const bool is_sctp = packet.protocol == net::Protocol::kSctp;
  Frame bytes(is_tcp ? 20 : (is_sctp ? 12 : 8));
  bytes.insert(bytes.end(), packet.payload.begin(), packet.payload.end());
  net::store(std::span(bytes), 0, be16(packet.source_port));
  net::store(std::span(bytes), 2, be16(packet.destination_port));
  if (is_sctp) {
    net::store(std::span(bytes), 8, net::sctp_checksum(bytes));
    return bytes;
  }
  if (is_tcp) {
    bytes[12] = std::byte{0x50};
    bytes[13] = std::byte{net::kTcpAck};
  } else {
    net::store(std::span(bytes), 4, be16(bytes.size()));
  }
  const std::size_t at = is_tcp ? 16 : 6;
  net::store(std::span(bytes), at, net::Be16());
  auto checksum =
      net::transport_checksum(packet.source, packet.destination, packet.protocol, bytes);
  if (!is_tcp && checksum == net::Be16()) checksum = net::Be16::from_network(0xffff);
  net::store(std::span(bytes), at, checksum);
  return bytes;
}

inline Frame build(const TestPacket& packet, const Frame& segment) {
  Frame frame(packet.link_size, std::byte{2});
  const bool is_v4 = packet.source.is_v4();
  if (packet.link_size > 14) {
    net::store(std::span(frame), 12, be16(0x8100));
    net::store(std::span(frame), 14, be16(7));
  }
  net::store(std::span(frame), packet.link_size - 2, be16(is_v4 ? 0x0800 : 0x86dd));
  Frame ip(is_v4 ? 20 : 40);
  const std::span<std::byte> out(ip);
  if (is_v4) {
    net::store(out, 0, be16(0x4500U | packet.tos));
    net::store(out, 2, be16(20 + segment.size()));
    net::store(out, 4, be16(packet.identification));
    net::store(out, 6, be16(packet.dont_fragment ? 0x4000 : 0));
    ip[8] = std::byte{packet.ttl};
    ip[9] = static_cast<std::byte>(packet.protocol);
    net::store(out, 12, packet.source.word(0));
    net::store(out, 16, packet.destination.word(0));
    net::store(out, 10, net::internet_checksum(ip));
  } else {
    net::store(out, 0, net::Be32::from_host(0x60000000U | (std::uint32_t{packet.tos} << 20U)));
    net::store(out, 4, be16(segment.size()));
    ip[6] = static_cast<std::byte>(packet.protocol);
    ip[7] = std::byte{packet.ttl};
    net::store(out, 8, packet.source.bytes());
    net::store(out, 24, packet.destination.bytes());
  }
  frame.insert(frame.end(), ip.begin(), ip.end());
  frame.insert(frame.end(), segment.begin(), segment.end());
  return frame;
}

inline Frame build(const TestPacket& packet) { return build(packet, segment_of(packet)); }

/// `count` bytes that tell each other apart.
inline Frame pattern(std::size_t count) {
  Frame bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
  return bytes;
}

}  // namespace lb::engine::test
