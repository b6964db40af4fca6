// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/tcp_segment.hpp"

#include <algorithm>

#include "engine/forward/ethernet.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv6Size = 40;
constexpr std::size_t kTcpSize = 20;
constexpr std::uint8_t kTtl = 64;

void write_ipv4(std::span<std::byte> ip, const BareSegment& segment,
                net::Be16 identification) noexcept {
  net::store(ip, 0, net::Be16::from_host(0x4500));
  net::store(ip, 2, net::Be16::from_host(static_cast<std::uint16_t>(ip.size())));
  net::store(ip, 4, identification);
  net::store(ip, 6, net::Be16::from_host(0x4000));  // do not fragment
  ip[8] = std::byte{kTtl};
  ip[9] = static_cast<std::byte>(net::Protocol::kTcp);
  net::store(ip, 10, net::Be16());
  net::store(ip, 12, segment.from.address.word(0));
  net::store(ip, 16, segment.to.address.word(0));
  net::store(ip, 10, net::internet_checksum(ip.first(kIpv4Size)));
}

void write_ipv6(std::span<std::byte> ip, const BareSegment& segment) noexcept {
  net::store(ip, 0, net::Be32::from_host(0x60000000U));
  net::store(ip, 4, net::Be16::from_host(kTcpSize));
  ip[6] = static_cast<std::byte>(net::Protocol::kTcp);
  ip[7] = std::byte{kTtl};
  net::store(ip, 8, segment.from.address.bytes());
  net::store(ip, 24, segment.to.address.bytes());
}

void write_tcp(std::span<std::byte> tcp, const BareSegment& segment) noexcept {
  net::store(tcp, 0, segment.from.port);
  net::store(tcp, 2, segment.to.port);
  net::store(tcp, 4, net::Be32::from_host(segment.sequence));
  net::store(tcp, 8, net::Be32::from_host(segment.acknowledgement));
  tcp[12] = std::byte{(kTcpSize / 4) << 4};
  tcp[13] = std::byte{segment.flags};
  std::fill(tcp.begin() + 14, tcp.end(), std::byte{});  // window 0, checksum, urgent pointer
  net::store(
      tcp, 16,
      net::transport_checksum(segment.from.address, segment.to.address, net::Protocol::kTcp, tcp));
}

}  // namespace

bool send_segment(const BareSegment& segment, net::Be16 identification, const NetworkView& network,
                  Outputs& outputs) noexcept {
  const auto hop = network.route(segment.to.address);
  if (!hop) return false;
  const auto family = segment.to.address.family();
  const auto ip_size = family == net::Family::kIpv4 ? kIpv4Size : kIpv6Size;
  const auto frame = outputs.reserve(kEthernetSize + ip_size + kTcpSize);
  if (frame.empty()) return false;
  const auto ip = frame.subspan(kEthernetSize);
  if (family == net::Family::kIpv4) {
    write_ipv4(ip, segment, identification);
  } else {
    write_ipv6(ip, segment);
  }
  write_tcp(ip.subspan(ip_size), segment);
  write_ethernet(frame, kEthernetSize, family, *hop);
  outputs.commit(hop->out == InterfaceId::kHost ? Verdict::host() : Verdict::send(*hop));
  return true;
}

}  // namespace lb::engine
