// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/tunnel.hpp"

#include <algorithm>
#include <array>

#include "engine/forward/masquerade.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using model::TunnelType;
using net::Be16;
using net::Be32;
using net::Family;
using net::Protocol;

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv6Size = 40;
constexpr std::size_t kUdpSize = 8;
constexpr std::size_t kGueSize = 4;

bool has_checksum(const model::TunnelSpec& spec) noexcept {
  if (spec.type == TunnelType::kGre) return (spec.flags & model::kTunnelChecksum) != 0;
  return (spec.flags & (model::kTunnelChecksum | model::kTunnelRemoteChecksum)) != 0;
}

/// Bytes between the outer and the inner IP header.
std::size_t shim_size(const model::TunnelSpec& spec) noexcept {
  switch (spec.type) {
    case TunnelType::kIpip:
      return 0;
    case TunnelType::kGre:
      return has_checksum(spec) ? 8 : 4;
    case TunnelType::kGue:
      return kUdpSize + kGueSize;
  }
  return 0;
}

std::size_t ip_size_of(Family family) noexcept {
  return family == Family::kIpv4 ? kIpv4Size : kIpv6Size;
}

Protocol inner_protocol(Family inner) noexcept {
  return inner == Family::kIpv4 ? Protocol::kIpip : Protocol::kIpv6;
}

/// Mixes the inner flow to a port of the ephemeral range, so that receivers spread tunnelled
/// flows over their queues; the range is the default of Linux.
net::Port flow_port(const net::Headers& inner) noexcept {
  constexpr std::uint64_t kFirst = 32768;
  constexpr std::uint64_t kCount = 60999 - kFirst;
  std::uint64_t hash =
      (std::uint64_t{inner.source_port.to_host()} << 16U) | inner.destination_port.to_host();
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t word = (std::uint64_t{inner.source.word(i).to_host()} << 32U) |
                               inner.destination.word(i).to_host();
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;  // 2^64 divided by the golden ratio
    hash ^= hash >> 32U;
  }
  return net::Port::from_host(
      static_cast<std::uint16_t>(kFirst + (((hash & 0xffffffffU) * kCount) >> 32U)));
}

/// What follows the outer IP header. `payload` is from there to the end of the packet.
void write_shim(std::span<std::byte> payload, const net::Headers& inner,
                const Tunnel& tunnel) noexcept {
  if (tunnel.spec.type == TunnelType::kGre) {
    constexpr std::uint16_t kChecksumPresent = 0x8000;  // RFC 2784, 2.1
    const bool checked = has_checksum(tunnel.spec);
    net::store(payload, 0, Be16::from_host(checked ? kChecksumPresent : 0));
    net::store(payload, 2, Be16::from_host(inner.family() == Family::kIpv4 ? 0x0800 : 0x86dd));
    if (checked) {
      net::store(payload, 4, Be32());
      net::store(payload, 4, net::internet_checksum(payload));
    }
    return;
  }
  if (tunnel.spec.type != TunnelType::kGue) return;
  net::store(payload, 0, flow_port(inner));
  net::store(payload, 2, tunnel.spec.port);
  net::store(payload, 4, Be16::from_host(static_cast<std::uint16_t>(payload.size())));
  net::store(payload, 6, Be16());
  // GUE version 0, data, no options: version/control/length, protocol, flags.
  const std::array<std::uint8_t, kGueSize> gue{
      0, static_cast<std::uint8_t>(inner_protocol(inner.family())), 0, 0};
  net::store(payload, kUdpSize, gue);
  if (has_checksum(tunnel.spec)) {
    Be16 checksum =
        net::transport_checksum(tunnel.source, tunnel.destination, Protocol::kUdp, payload);
    if (checksum == Be16()) checksum = Be16::from_network(0xffff);
    net::store(payload, 6, checksum);
  }
}

Protocol outer_protocol(TunnelType type, Family inner) noexcept {
  switch (type) {
    case TunnelType::kGre:
      return Protocol::kGre;
    case TunnelType::kGue:
      return Protocol::kUdp;
    case TunnelType::kIpip:
      break;
  }
  return inner_protocol(inner);
}

void write_outer_ipv4(std::span<std::byte> ip, const net::Headers& outer,
                      Be16 identification) noexcept {
  constexpr std::uint16_t kDontFragment = 0x4000;
  net::store(ip, 0, Be16::from_host(static_cast<std::uint16_t>(0x4500U | outer.tos)));
  net::store(ip, 2, Be16::from_host(static_cast<std::uint16_t>(ip.size())));
  net::store(ip, 4, outer.dont_fragment ? Be16() : identification);
  net::store(ip, 6, Be16::from_host(outer.dont_fragment ? kDontFragment : 0));
  ip[8] = static_cast<std::byte>(outer.ttl);
  ip[9] = static_cast<std::byte>(outer.protocol);
  net::store(ip, 10, Be16());
  net::store(ip, 12, outer.source.word(0));
  net::store(ip, 16, outer.destination.word(0));
  net::store(ip, 10, net::internet_checksum(ip.first(kIpv4Size)));
}

void write_outer_ipv6(std::span<std::byte> ip, const net::Headers& outer) noexcept {
  // The flow label is zero, as the kernel's.
  net::store(ip, 0, Be32::from_host(0x60000000U | (std::uint32_t{outer.tos} << 20U)));
  net::store(ip, 4, Be16::from_host(static_cast<std::uint16_t>(ip.size() - kIpv6Size)));
  ip[6] = static_cast<std::byte>(outer.protocol);
  ip[7] = static_cast<std::byte>(outer.ttl);
  net::store(ip, 8, outer.source.bytes());
  net::store(ip, 24, outer.destination.bytes());
}

/// DSCP as inside; ECN as inside, but "congestion experienced" as ECT(0) (RFC 3168, 9.1.1).
std::uint8_t outer_tos(std::uint8_t inner) noexcept {
  constexpr std::uint8_t kEcnMask = 3;
  constexpr std::uint8_t kEct0 = 2;
  if ((inner & kEcnMask) != kEcnMask) return inner;
  return static_cast<std::uint8_t>((inner & ~kEcnMask) | kEct0);
}

}  // namespace

std::size_t tunnel_overhead(const model::TunnelSpec& spec, Family outer) noexcept {
  return ip_size_of(outer) + shim_size(spec);
}

bool encapsulate(net::Packet& packet, net::Headers& headers, const Tunnel& tunnel) noexcept {
  const Family family = tunnel.destination.family();
  const std::size_t outer_size = ip_size_of(family);
  const std::size_t overhead = tunnel_overhead(tunnel.spec, family);
  const std::size_t inner_size = headers.ip_size();
  const std::size_t counted = overhead + inner_size - (family == Family::kIpv6 ? kIpv6Size : 0);
  if (tunnel.source.family() != family || counted > 0xffff) return false;
  if (packet.headroom() < overhead) return false;

  complete_checksum(packet.bytes(), headers);
  // Cuts Ethernet padding, which would otherwise end up inside the tunnel; can't fail.
  if (!packet.resize(headers.end) || !packet.push_front(overhead)) return false;
  const auto frame = packet.bytes();
  const std::size_t link_size = headers.ip_offset;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(overhead), link_size, frame.begin());

  const auto ip = frame.subspan(link_size);
  write_shim(ip.subspan(outer_size), headers, tunnel);

  net::Headers outer;
  outer.source = tunnel.source;
  outer.destination = tunnel.destination;
  outer.protocol = outer_protocol(tunnel.spec.type, headers.family());
  outer.ip_offset = headers.ip_offset;
  outer.transport_offset = static_cast<std::uint16_t>(link_size + outer_size);
  outer.end = static_cast<std::uint32_t>(frame.size());
  outer.next_header_offset =
      static_cast<std::uint16_t>(link_size + (family == Family::kIpv4 ? 9U : 6U));
  outer.ttl = headers.ttl;
  outer.tos = outer_tos(headers.tos);
  const bool inner_asks = headers.family() == Family::kIpv4 && headers.dont_fragment;
  outer.dont_fragment = family == Family::kIpv6 || (inner_asks && tunnel.copy_dont_fragment);
  if (tunnel.spec.type == TunnelType::kGue) {
    outer.has_ports = true;
    outer.has_transport_header = true;
    outer.source_port = net::load<net::Port>(ip, outer_size);
    outer.destination_port = tunnel.spec.port;
  }
  if (family == Family::kIpv4) {
    write_outer_ipv4(ip, outer, tunnel.identification);
  } else {
    write_outer_ipv6(ip, outer);
  }
  headers = outer;
  return true;
}

}  // namespace lb::engine
