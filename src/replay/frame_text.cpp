// SPDX-License-Identifier: Apache-2.0
#include "replay/frame_text.hpp"

#include <fmt/format.h>

#include "replay/case_file.hpp"
#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/ip_view.hpp"

namespace lb::replay {
namespace {

constexpr int kMaxDepth = 4;

std::string describe(std::span<const std::byte> packet, int depth);

std::string mac_text(std::span<const std::byte> frame, std::size_t offset) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", read8(frame, offset),
                     read8(frame, offset + 1), read8(frame, offset + 2), read8(frame, offset + 3),
                     read8(frame, offset + 4), read8(frame, offset + 5));
}

std::string tcp_text(std::span<const std::byte> payload) {
  if (payload.size() < 20) return fmt::format("tcp cut off at {}", payload.size());
  std::string flags;
  const auto bits = read8(payload, 13);
  constexpr std::string_view kLetters = "FSRPAUEC";
  for (std::size_t i = 0; i < kLetters.size(); ++i) {
    if ((bits >> i & 1) != 0) flags += kLetters[i];
  }
  const std::size_t header = std::size_t{read8(payload, 12)} / 16 * 4;
  return fmt::format("tcp {} seq {} ack {} win {} length {}", flags.empty() ? "." : flags,
                     read32(payload, 4), read32(payload, 8), read16(payload, 14),
                     payload.size() >= header ? payload.size() - header : 0);
}

std::string sctp_text(std::span<const std::byte> payload) {
  std::string text = "sctp";
  for (std::size_t at = 12; at + 4 <= payload.size();) {
    text += (at == 12 ? " " : "+") + sctp_chunk_text(read8(payload, at));
    at +=
        (std::size_t{read16(payload, at + 2)} + 3) / 4 * 4 + (read16(payload, at + 2) == 0 ? 4 : 0);
  }
  return text;
}

std::string icmp_text(const IpView& ip, int depth) {
  const auto payload = ip.payload();
  if (payload.size() < 8) return fmt::format("icmp cut off at {}", payload.size());
  const auto type = read8(payload, 0);
  auto text = fmt::format("icmp {}/{}", type, read8(payload, 1));
  const bool is_error =
      ip.is_v4() ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 : type < 128;
  if (!is_error) return text + fmt::format(" length {}", payload.size() - 8);
  if (const auto rest = read32(payload, 4); rest != 0) text += fmt::format(" rest {}", rest);
  return text + " [" + describe(payload.subspan(8), depth + 1) + "]";
}

std::string transport_text(const IpView& ip, int depth) {
  const auto payload = ip.payload();
  if (ip.fragment_offset != 0) {
    return fmt::format("proto {} length {}", ip.protocol, payload.size());
  }
  if (const auto inner = view_tunnelled(ip)) {
    const auto* kind = ip.protocol == 47 ? "gre" : ip.protocol == 17 ? "gue" : "ipip";
    return std::string(kind) + " [" + describe(inner->packet, depth + 1) + "]";
  }
  switch (ip.protocol) {
    case 1:
    case 58:
      return icmp_text(ip, depth);
    case 6:
      return tcp_text(payload);
    case 17:
      return fmt::format("udp length {}", payload.size() < 8 ? 0 : payload.size() - 8);
    case 132:
      return sctp_text(payload);
    default:
      return fmt::format("proto {} length {}", ip.protocol, payload.size());
  }
}

std::string describe(std::span<const std::byte> packet, int depth) {
  if (depth > kMaxDepth) return "...";
  const auto ip = view_ip(packet);
  if (!ip) return fmt::format("not IP, {} bytes", packet.size());
  const bool with_ports = ports_of(*ip).has_value();
  const auto end_text = [&](const net::Endpoint& end) {
    return with_ports ? to_text(end) : end.address.to_text();
  };
  auto text = fmt::format("{} > {} {} ttl {}", end_text(source_end(*ip)),
                          end_text(destination_end(*ip)), transport_text(*ip, depth), ip->ttl);
  if (ip->tos != 0) text += fmt::format(" tos {:#x}", ip->tos);
  if (ip->is_v4()) text += fmt::format(" id {}{}", ip->id, ip->dont_fragment ? " DF" : "");
  if (ip->is_fragment()) {
    text += fmt::format(" frag {}@{}{}", ip->payload().size(), ip->fragment_offset,
                        ip->more_fragments ? "+" : "");
  }
  return text;
}

}  // namespace

std::string describe_packet(std::span<const std::byte> packet) { return describe(packet, 0); }

std::string describe_frame(std::span<const std::byte> frame) {
  if (frame.size() < 14) return fmt::format("frame of {} bytes", frame.size());
  const auto macs = mac_text(frame, 6) + " > " + mac_text(frame, 0) + " ";
  const auto ip = view_frame(frame);
  if (!ip) return macs + fmt::format("type {:#06x}, {} bytes", read16(frame, 12), frame.size());
  auto text = macs + describe(ip->packet, 0);
  for (const auto& layer : wrong_checksums(frame)) text += " (wrong " + layer + " checksum)";
  return text;
}

std::string hex_text(std::span<const std::byte> bytes) {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

}  // namespace lb::replay
