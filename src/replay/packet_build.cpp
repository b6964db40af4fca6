// SPDX-License-Identifier: Apache-2.0
// The bytes of a packet in shorthand: build_packet of packet_text.hpp.
#include <algorithm>

#include "replay/byte_writer.hpp"
#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/packet_text.hpp"

namespace lb::replay {
namespace {

using Kind = PacketText::Kind;

constexpr std::size_t kMostPayload = 60000;
constexpr unsigned kGuePort = 6080;

/// Letters that count up, so that a payload moved by a byte is not the same.
void put_payload(Bytes& bytes, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) put8(bytes, 'a' + static_cast<unsigned>(i % 26));
}

void put_ends(Bytes& bytes, const PacketText& packet) {
  put16(bytes, packet.source.port.to_host());
  put16(bytes, packet.destination.port.to_host());
}

std::optional<Bytes> tcp_of(const PacketText& packet) {
  const auto flags = tcp_flags_from_text(packet.flags == "." ? "" : packet.flags);
  if (!flags) return std::nullopt;
  Bytes bytes;
  put_ends(bytes, packet);
  put32(bytes, packet.seq.value_or(1000));
  put32(bytes, packet.ack.value_or(0));
  put8(bytes, 5U << 4);
  put8(bytes, *flags);
  put16(bytes, 64240);
  put32(bytes, 0);
  put_payload(bytes, packet.length.value_or(0));
  return bytes;
}

Bytes udp_of(const PacketText& packet) {
  Bytes bytes;
  put_ends(bytes, packet);
  const auto size = packet.length.value_or(5);
  put16(bytes, static_cast<unsigned>(8 + size));
  put16(bytes, 0);
  put_payload(bytes, size);
  return bytes;
}

/// frame_builder.hpp knows the chunks; what it builds is a frame with a plain IP header.
std::optional<Bytes> sctp_of(const PacketText& packet) {
  const auto frame = build_frame({.source_mac = {},
                                  .destination_mac = {},
                                  .protocol = net::Protocol::kSctp,
                                  .source = packet.source,
                                  .destination = packet.destination,
                                  .flags = packet.flags});
  if (!frame) return std::nullopt;
  const std::ptrdiff_t headers = packet.source.address.is_v4() ? 34 : 54;
  return Bytes(frame->begin() + headers, frame->end());
}

tl::expected<Bytes, std::string> icmp_of(const PacketText& packet) {
  Bytes bytes;
  put8(bytes, packet.icmp_type);
  put8(bytes, packet.icmp_code);
  put16(bytes, 0);
  put32(bytes, packet.icmp_rest.value_or(0));
  if (!packet.inner) {
    put_payload(bytes, packet.length.value_or(0));
    return bytes;
  }
  auto quoted = build_packet(*packet.inner);
  if (!quoted) return quoted;
  if (packet.length) quoted->resize(std::min(quoted->size(), *packet.length));
  put_bytes(bytes, *quoted);
  return bytes;
}

tl::expected<Bytes, std::string> tunnel_of(const PacketText& packet) {
  if (!packet.inner) return tl::unexpected(std::string("a tunnel that carries nothing"));
  const auto inner = build_packet(*packet.inner);
  if (!inner) return inner;
  const bool inner_v4 = packet.inner->source.address.is_v4();
  Bytes bytes;
  if (packet.kind == Kind::kGre) {
    put16(bytes, packet.with_checksum ? 0x8000 : 0);
    put16(bytes, inner_v4 ? 0x0800 : 0x86dd);
    if (packet.with_checksum) put32(bytes, 0);
  } else if (packet.kind == Kind::kGue) {
    put16(bytes, 0);  // any source port: see the mask of the frame
    put16(bytes, kGuePort);
    put16(bytes, static_cast<unsigned>(12 + inner->size()));
    put16(bytes, 0);
    put32(bytes, inner_v4 ? 0x00040000 : 0x00290000);
  }
  put_bytes(bytes, *inner);
  if (packet.kind == Kind::kGre && packet.with_checksum) put_at16(bytes, 4, plain_checksum(bytes));
  return bytes;
}

std::uint8_t protocol_of(const PacketText& packet) {
  const bool is_v4 = packet.source.address.is_v4();
  switch (packet.kind) {
    case Kind::kTcp:
      return 6;
    case Kind::kUdp:
    case Kind::kGue:
      return 17;
    case Kind::kSctp:
      return 132;
    case Kind::kIcmp:
      return is_v4 ? 1 : 58;
    case Kind::kIpip:
      return packet.inner && !packet.inner->source.address.is_v4() ? 41 : 4;
    case Kind::kGre:
      return 47;
    case Kind::kOther:
      break;
  }
  return packet.protocol;
}

tl::expected<Bytes, std::string> transport_of(const PacketText& packet) {
  const auto flags_wrong = [&] { return tl::unexpected("unknown flags " + packet.flags); };
  if (packet.kind == Kind::kTcp || packet.kind == Kind::kSctp) {
    auto bytes = packet.kind == Kind::kTcp ? tcp_of(packet) : sctp_of(packet);
    if (!bytes) return flags_wrong();
    return *std::move(bytes);
  }
  if (packet.kind == Kind::kUdp) return udp_of(packet);
  if (packet.kind == Kind::kIcmp) return icmp_of(packet);
  if (packet.is_tunnel()) return tunnel_of(packet);
  Bytes bytes;
  put_payload(bytes, packet.length.value_or(24));
  return bytes;
}

Bytes ip_header(const PacketText& packet, std::uint8_t protocol, std::size_t payload) {
  Bytes bytes;
  const auto ttl = packet.ttl.value_or(63);
  if (!packet.source.address.is_v4()) {
    put32(bytes, 0x60000000U | std::uint32_t{packet.tos.value_or(0)} << 20);
    put16(bytes, static_cast<unsigned>(payload));
    put8(bytes, packet.piece ? 44 : protocol);
    put8(bytes, ttl);
    put_address(bytes, packet.source.address);
    put_address(bytes, packet.destination.address);
    return bytes;
  }
  const bool keep = packet.dont_fragment.value_or(!packet.piece);
  const unsigned offset = packet.piece ? static_cast<unsigned>(packet.piece->first / 8) : 0;
  const bool more = packet.piece && packet.piece->more;
  put8(bytes, 0x45);
  put8(bytes, packet.tos.value_or(0));
  put16(bytes, static_cast<unsigned>(20 + payload));
  put16(bytes, packet.id.value_or(packet.is_tunnel() ? 0 : 1));
  put16(bytes, (keep ? 0x4000U : 0U) | (more ? 0x2000U : 0U) | offset);
  put8(bytes, ttl);
  put8(bytes, protocol);
  put16(bytes, 0);
  put_address(bytes, packet.source.address);
  put_address(bytes, packet.destination.address);
  put_at16(bytes, 10, plain_checksum(bytes));
  return bytes;
}

/// The transport checksum, which covers the addresses; `transport` is whole.
void complete(Bytes& transport, const PacketText& packet, std::uint8_t protocol) {
  const bool over_v6 = !packet.source.address.is_v4();
  const bool with_sum = packet.kind == Kind::kTcp || packet.kind == Kind::kUdp ||
                        packet.kind == Kind::kIcmp ||
                        (packet.kind == Kind::kGue && packet.with_checksum);
  if (!with_sum) return;
  std::size_t at = 6;
  if (packet.kind == Kind::kTcp) at = 16;
  if (packet.kind == Kind::kIcmp) at = 2;
  std::uint32_t start = 0;
  if (packet.kind != Kind::kIcmp || over_v6) {
    auto whole = packet;
    whole.piece.reset();
    start =
        pseudo_header_sum(ip_header(whole, protocol, transport.size()), protocol, transport.size());
  }
  if (packet.summed_as) {  // addresses and ports in it are changed, its checksum is not
    const auto other = transport_of(*packet.summed_as);
    if (!other || other->size() < at + 2) return;
    auto summed = *other;
    complete(summed, *packet.summed_as, protocol);
    std::copy_n(summed.begin() + static_cast<std::ptrdiff_t>(at), 2,
                transport.begin() + static_cast<std::ptrdiff_t>(at));
    return;
  }
  auto sum = plain_checksum(transport, start);
  if (protocol == 17 && sum == 0) sum = 0xffff;
  put_at16(transport, at, sum);
}

}  // namespace

tl::expected<Bytes, std::string> build_packet(const PacketText& packet) {
  if (packet.length.value_or(0) > kMostPayload) return tl::unexpected(std::string("too long"));
  auto transport = transport_of(packet);
  if (!transport) return transport;
  const auto protocol = protocol_of(packet);
  complete(*transport, packet, protocol);
  if (packet.piece) {
    const auto& piece = *packet.piece;
    if (piece.first > transport->size() || piece.length > transport->size() - piece.first) {
      return tl::unexpected(std::string("a piece beyond the end of its packet"));
    }
    const auto start = transport->begin() + static_cast<std::ptrdiff_t>(piece.first);
    Bytes part(start, start + static_cast<std::ptrdiff_t>(piece.length));
    if (!packet.source.address.is_v4()) {
      Bytes header;
      put8(header, protocol);
      put8(header, 0);
      put16(header, static_cast<unsigned>(piece.first) | (piece.more ? 1U : 0U));
      put32(header, packet.id.value_or(1));
      put_bytes(header, part);
      part = std::move(header);
    }
    *transport = std::move(part);
  }
  auto bytes = ip_header(packet, protocol, transport->size());
  put_bytes(bytes, *transport);
  return bytes;
}

}  // namespace lb::replay
