// SPDX-License-Identifier: Apache-2.0
#include "replay/frame_builder.hpp"

#include <array>
#include <string>

#include "replay/byte_writer.hpp"
#include "replay/frame_checksum.hpp"

namespace lb::replay {
namespace {

constexpr std::string_view kTcpLetters = "FSRPAUEC";  // bit 0 upwards (RFC 9293, 3.1; RFC 3168)

struct ChunkType {
  std::string_view name;
  std::uint8_t number;
  std::uint16_t size;  // smallest that the RFC allows, padded to four bytes
};
constexpr auto kChunkTypes = std::to_array<ChunkType>({
    {"DATA", 0, 20},
    {"INIT", 1, 20},
    {"INIT_ACK", 2, 20},
    {"SACK", 3, 16},
    {"HEARTBEAT", 4, 8},
    {"HEARTBEAT_ACK", 5, 8},
    {"ABORT", 6, 4},
    {"SHUTDOWN", 7, 8},
    {"SHUTDOWN_ACK", 8, 4},
    {"ERROR", 9, 4},
    {"COOKIE_ECHO", 10, 8},
    {"COOKIE_ACK", 11, 4},
    {"ECNE", 12, 8},
    {"CWR", 13, 8},
    {"SHUTDOWN_COMPLETE", 14, 4},
});

void put_ports(Bytes& bytes, const ShortPacket& packet) {
  put16(bytes, packet.source.port.to_host());
  put16(bytes, packet.destination.port.to_host());
}

std::optional<Bytes> tcp_segment(const ShortPacket& packet) {
  const auto flags = tcp_flags_from_text(packet.flags);
  if (!flags) return std::nullopt;
  Bytes bytes;
  put_ports(bytes, packet);
  put32(bytes, packet.from_server ? 5000 : 1000);
  put32(bytes, packet.from_server ? 1001 : 0);
  put8(bytes, 5U << 4);
  put8(bytes, *flags);
  put16(bytes, 64240);
  put32(bytes, 0);  // checksum, urgent pointer
  return bytes;
}

Bytes udp_datagram(const ShortPacket& packet) {
  const std::string_view payload = packet.from_server ? "reply" : "hello";
  Bytes bytes;
  put_ports(bytes, packet);
  put16(bytes, static_cast<unsigned>(8 + payload.size()));
  put16(bytes, 0);
  put_text(bytes, payload);
  return bytes;
}

std::optional<Bytes> sctp_packet(const ShortPacket& packet) {
  Bytes bytes;
  put_ports(bytes, packet);
  put32(bytes, 1);  // verification tag
  put32(bytes, 0);
  auto rest = packet.flags;
  while (!rest.empty()) {
    const auto plus = rest.find('+');
    const auto type = sctp_chunk_from_text(rest.substr(0, plus));
    if (!type) return std::nullopt;
    rest = plus == std::string_view::npos ? std::string_view{} : rest.substr(plus + 1);
    const auto size = kChunkTypes[*type].size;
    put8(bytes, *type);
    put8(bytes, *type == 0 ? 3 : 0);  // DATA: first and last piece of a message
    put16(bytes, size);
    bytes.resize(bytes.size() + size - 4);
  }
  const auto crc = plain_crc32c(bytes);
  put_at16(bytes, 8, crc >> 16);
  put_at16(bytes, 10, crc & 0xffff);
  return bytes;
}

std::optional<Bytes> transport_of(const ShortPacket& packet) {
  switch (packet.protocol) {
    case net::Protocol::kTcp:
      return tcp_segment(packet);
    case net::Protocol::kUdp:
      return udp_datagram(packet);
    case net::Protocol::kSctp:
      return sctp_packet(packet);
    default:
      return std::nullopt;
  }
}

Bytes ip_header(const ShortPacket& packet, std::size_t payload_size) {
  Bytes bytes;
  const auto protocol = static_cast<unsigned>(packet.protocol);
  if (packet.source.address.is_v4()) {
    put16(bytes, 0x4500);
    put16(bytes, static_cast<unsigned>(20 + payload_size));
    put16(bytes, 1);       // identification
    put16(bytes, 0x4000);  // DF
    put8(bytes, packet.ttl);
    put8(bytes, protocol);
    put16(bytes, 0);
    put_address(bytes, packet.source.address);
    put_address(bytes, packet.destination.address);
    put_at16(bytes, 10, plain_checksum(bytes));
    return bytes;
  }
  put32(bytes, 0x60000000);
  put16(bytes, static_cast<unsigned>(payload_size));
  put8(bytes, protocol);
  put8(bytes, packet.ttl);
  put_address(bytes, packet.source.address);
  put_address(bytes, packet.destination.address);
  return bytes;
}

}  // namespace

std::optional<std::uint8_t> tcp_flags_from_text(std::string_view text) {
  unsigned flags = 0;
  for (const char letter : text) {
    const auto bit = kTcpLetters.find(letter);
    if (bit == std::string_view::npos) return std::nullopt;
    flags |= 1U << bit;
  }
  return static_cast<std::uint8_t>(flags);
}

std::optional<std::uint8_t> sctp_chunk_from_text(std::string_view text) {
  for (const auto& type : kChunkTypes) {
    if (type.name == text) return type.number;
  }
  return std::nullopt;
}

std::string sctp_chunk_text(std::uint8_t type) {
  if (type < kChunkTypes.size()) return std::string(kChunkTypes[type].name);
  return std::to_string(type);
}

std::optional<Bytes> build_frame(const ShortPacket& packet) {
  const auto family = packet.source.address.family();
  if (family != packet.destination.address.family()) return std::nullopt;
  auto transport = transport_of(packet);
  if (!transport) return std::nullopt;
  const auto header = ip_header(packet, transport->size());
  if (packet.protocol != net::Protocol::kSctp) {
    const bool is_tcp = packet.protocol == net::Protocol::kTcp;
    const auto protocol = static_cast<std::uint8_t>(packet.protocol);
    auto sum = plain_checksum(*transport, pseudo_header_sum(header, protocol, transport->size()));
    if (!is_tcp && sum == 0) sum = 0xffff;  // zero means "not computed" (RFC 768)
    put_at16(*transport, is_tcp ? 16 : 6, sum);
  }
  Bytes frame;
  put_mac(frame, packet.destination_mac);
  put_mac(frame, packet.source_mac);
  put16(frame, family == net::Family::kIpv4 ? 0x0800 : 0x86dd);
  frame.insert(frame.end(), header.begin(), header.end());
  frame.insert(frame.end(), transport->begin(), transport->end());
  return frame;
}

}  // namespace lb::replay
