// SPDX-License-Identifier: Apache-2.0
#include "datapath/segmenter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::datapath {
namespace {

constexpr std::size_t kTcpHeader = 20;
constexpr std::size_t kTcpSequence = 4;
constexpr std::size_t kTcpOffset = 12;
constexpr std::size_t kTcpFlags = 13;
constexpr std::size_t kTcpChecksum = 16;
constexpr std::uint8_t kCwr = 0x80;
constexpr std::size_t kIpv6Header = 40;

std::size_t ipv4_header_size(std::span<const std::byte> ip) noexcept {
  return (net::load<std::uint8_t>(ip, 0) & 15U) * 4U;
}

}  // namespace

std::optional<Segmenter> Segmenter::create(std::span<const std::byte> frame, std::size_t mtu,
                                           const SegmentSizes& sizes) noexcept {
  const auto headers = net::parse_frame(frame);
  if (!headers || headers->is_fragment() || headers->protocol != net::Protocol::kTcp ||
      !headers->has_transport_header || headers->ip_size() <= mtu) {
    return std::nullopt;
  }
  const std::size_t transport = headers->transport_offset;
  const std::size_t tcp_size = (net::load<std::uint8_t>(frame, transport + kTcpOffset) >> 4U) * 4U;
  const std::size_t data = transport + tcp_size;
  const std::size_t header_size = data - headers->ip_offset;
  const std::size_t largest = sizes.size_for(headers->destination, mtu);
  if (tcp_size < kTcpHeader || data >= headers->end || header_size >= largest) return std::nullopt;
  return Segmenter(frame, *headers, data, largest - header_size);
}

std::size_t Segmenter::next(std::span<std::byte> room) noexcept {
  const std::size_t left = headers_.end - at_;
  const auto payload = std::min(left, most_);
  const auto size = data_ + payload;
  if (payload == 0 || size > room.size()) return 0;
  const auto segment = room.first(size);
  std::memcpy(segment.data(), frame_.data(), data_);
  std::memcpy(segment.data() + data_, frame_.data() + at_, payload);
  write_headers(segment, payload == left);
  at_ += payload;
  ++count_;
  return size;
}

void Segmenter::write_headers(std::span<std::byte> segment, bool is_last) const noexcept {
  const auto ip = segment.subspan(headers_.ip_offset);
  if (headers_.family() == net::Family::kIpv4) {
    const auto id = net::Be16::from_network(net::load<std::uint16_t>(ip, 4)).to_host();
    net::store(ip, 2, net::Be16::from_host(static_cast<std::uint16_t>(ip.size())));
    net::store(ip, 4, net::Be16::from_host(static_cast<std::uint16_t>(id + count_)));
    net::store(ip, 10, net::Be16());
    net::store(ip, 10, net::internet_checksum(ip.first(ipv4_header_size(ip))));
  } else {
    net::store(ip, 4, net::Be16::from_host(static_cast<std::uint16_t>(ip.size() - kIpv6Header)));
  }
  const auto tcp = segment.subspan(headers_.transport_offset);
  const auto sequence = net::Be32::from_network(net::load<std::uint32_t>(tcp, kTcpSequence));
  net::store(tcp, kTcpSequence,
             net::Be32::from_host(sequence.to_host() + static_cast<std::uint32_t>(at_ - data_)));
  auto flags = net::load<std::uint8_t>(tcp, kTcpFlags);
  if (!is_last) flags &= static_cast<std::uint8_t>(~(net::kTcpFin | net::kTcpPsh));
  if (count_ != 0) flags &= static_cast<std::uint8_t>(~kCwr);
  net::store(tcp, kTcpFlags, flags);
  net::store(tcp, kTcpChecksum, net::Be16());
  net::store(
      tcp, kTcpChecksum,
      net::transport_checksum(headers_.source, headers_.destination, net::Protocol::kTcp, tcp));
}

std::size_t SegmentSizes::slot_of(const net::IpAddress& destination) noexcept {
  const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(destination.bytes());
  // Who collides only forgets, and learns again.
  const auto mixed = (words[0] ^ std::rotl(words[1], 32)) * 0x9e3779b97f4a7c15U;
  return mixed >> 56U;
}

std::size_t SegmentSizes::size_for(const net::IpAddress& destination,
                                   std::size_t mtu) const noexcept {
  const auto& entry = entries_[slot_of(destination)];
  if (entry.size == 0 || entry.destination != destination) return mtu;
  return std::min<std::size_t>(entry.size, mtu);
}

void SegmentSizes::learn(const net::IpAddress& destination,
                         std::span<const std::byte> error) noexcept {
  const auto headers = net::parse_frame(error);
  if (!headers || !headers->has_transport_header) return;
  const auto icmp = error.subspan(headers->transport_offset);
  std::uint32_t mtu = 0;
  if (headers->protocol == net::Protocol::kIcmp && headers->icmp_type == 3 &&
      headers->icmp_code == 4) {
    mtu = net::Be16::from_network(net::load<std::uint16_t>(icmp, 6)).to_host();  // RFC 1191, 4
  } else if (headers->protocol == net::Protocol::kIcmpv6 && headers->icmp_type == 2) {
    mtu = net::Be32::from_network(net::load<std::uint32_t>(icmp, 4)).to_host();  // RFC 4443, 3.2
  }
  constexpr std::uint32_t kLeast = 68;  // RFC 791
  if (mtu < kLeast || mtu > UINT16_MAX) return;
  entries_[slot_of(destination)] = {.destination = destination,
                                    .size = static_cast<std::uint16_t>(mtu)};
}

}  // namespace lb::datapath
