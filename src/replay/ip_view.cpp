// SPDX-License-Identifier: Apache-2.0
#include "replay/ip_view.hpp"

#include <algorithm>
#include <array>

namespace lb::replay {
namespace {

constexpr std::size_t kIpv4HeaderSize = 20;
constexpr std::size_t kIpv6HeaderSize = 40;
constexpr std::uint16_t kGuePort = 6080;  // IANA: "gue"; what the recorded cases use

net::IpAddress read_v6(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  std::array<std::uint8_t, 16> address{};
  for (std::size_t i = 0; i < address.size(); ++i) address[i] = read8(bytes, offset + i);
  return net::IpAddress::v6(address);
}

std::optional<IpView> view_v4(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kIpv4HeaderSize) return std::nullopt;
  IpView ip;
  ip.header_size = std::size_t{read8(bytes, 0)} % 16 * 4;
  const std::size_t total = read16(bytes, 2);
  if (ip.header_size < kIpv4HeaderSize || ip.header_size > bytes.size() || total < ip.header_size) {
    return std::nullopt;
  }
  ip.packet = bytes.first(std::min(total, bytes.size()));
  ip.tos = read8(bytes, 1);
  ip.id = read16(bytes, 4);
  const auto fragment = read16(bytes, 6);
  ip.dont_fragment = (fragment & 0x4000) != 0;
  ip.more_fragments = (fragment & 0x2000) != 0;
  ip.fragment_offset = static_cast<std::uint16_t>((fragment & 0x1fff) * 8);
  ip.ttl = read8(bytes, 8);
  ip.protocol = read8(bytes, 9);
  ip.source = net::IpAddress::v4(net::Be32::from_host(read32(bytes, 12)));
  ip.destination = net::IpAddress::v4(net::Be32::from_host(read32(bytes, 16)));
  return ip;
}

bool is_extension(std::uint8_t next) noexcept {
  return next == 0 || next == 43 || next == 44 || next == 60;  // RFC 8200, 4
}

std::optional<IpView> view_v6(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kIpv6HeaderSize) return std::nullopt;
  IpView ip;
  ip.packet = bytes.first(std::min(bytes.size(), kIpv6HeaderSize + read16(bytes, 4)));
  ip.tos = static_cast<std::uint8_t>(read16(bytes, 0) >> 4);
  ip.ttl = read8(bytes, 7);
  ip.source = read_v6(bytes, 8);
  ip.destination = read_v6(bytes, 24);
  ip.dont_fragment = true;
  ip.protocol = read8(bytes, 6);
  ip.header_size = kIpv6HeaderSize;
  while (is_extension(ip.protocol)) {
    const auto at = ip.header_size;
    if (at + 8 > ip.packet.size()) return std::nullopt;
    const bool is_fragment_header = ip.protocol == 44;
    if (is_fragment_header) {
      const auto fragment = read16(bytes, at + 2);
      ip.fragment_offset = static_cast<std::uint16_t>(fragment & 0xfff8);
      ip.more_fragments = (fragment & 1) != 0;
      ip.id = read32(bytes, at + 4);
    }
    const std::size_t size = is_fragment_header ? 8 : (std::size_t{read8(bytes, at + 1)} + 1) * 8;
    if (at + size > ip.packet.size()) return std::nullopt;
    ip.protocol = read8(bytes, at);
    ip.header_size = at + size;
    if (ip.fragment_offset != 0) break;
  }
  return ip;
}

}  // namespace

std::uint8_t read8(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  return std::to_integer<std::uint8_t>(bytes[offset]);
}
std::uint16_t read16(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  return static_cast<std::uint16_t>(read8(bytes, offset) * 256 + read8(bytes, offset + 1));
}
std::uint32_t read32(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  return std::uint32_t{read16(bytes, offset)} * 65536 + read16(bytes, offset + 2);
}

std::optional<IpView> view_ip(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty()) return std::nullopt;
  switch (read8(bytes, 0) >> 4) {
    case 4:
      return view_v4(bytes);
    case 6:
      return view_v6(bytes);
    default:
      return std::nullopt;
  }
}

std::optional<IpView> view_frame(std::span<const std::byte> frame) noexcept {
  std::size_t at = 12;
  for (int tags = 0; tags < 3; ++tags, at += 4) {
    if (frame.size() < at + 2) return std::nullopt;
    const auto type = read16(frame, at);
    if (type == 0x8100 || type == 0x88a8) continue;
    if (type != 0x0800 && type != 0x86dd) return std::nullopt;
    return view_ip(frame.subspan(at + 2));
  }
  return std::nullopt;
}

std::optional<PortPair> ports_of(const IpView& ip) noexcept {
  const bool has_ports = ip.protocol == 6 || ip.protocol == 17 || ip.protocol == 132;
  if (!has_ports || ip.fragment_offset != 0 || ip.payload().size() < 4) return std::nullopt;
  return PortPair{read16(ip.payload(), 0), read16(ip.payload(), 2)};
}

net::Endpoint source_end(const IpView& ip) noexcept {
  return {ip.source, net::Port::from_host(ports_of(ip).value_or(PortPair{}).source)};
}
net::Endpoint destination_end(const IpView& ip) noexcept {
  return {ip.destination, net::Port::from_host(ports_of(ip).value_or(PortPair{}).destination)};
}

std::optional<IpView> view_tunnelled(const IpView& ip) noexcept {
  const auto payload = ip.payload();
  if (ip.is_fragment()) return std::nullopt;
  if (ip.protocol == 4 || ip.protocol == 41) return view_ip(payload);
  if (ip.protocol == 47 && payload.size() >= 4) {
    // RFC 2784: a checksum of four bytes follows if bit 0 is set.
    const std::size_t size = (read8(payload, 0) & 0x80) != 0 ? 8 : 4;
    if (payload.size() < size) return std::nullopt;
    return view_ip(payload.subspan(size));
  }
  const auto ports = ports_of(ip);
  if (ip.protocol == 17 && ports && ports->destination == kGuePort && payload.size() >= 12) {
    // draft-ietf-intarea-gue: the low five bits count the words of optional fields.
    const std::size_t size = 8 + 4 + std::size_t{read8(payload, 8)} % 32 * 4;
    if (payload.size() < size) return std::nullopt;
    return view_ip(payload.subspan(size));
  }
  return std::nullopt;
}

}  // namespace lb::replay
