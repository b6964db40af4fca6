// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/payload.hpp"

#include <cstring>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;

constexpr std::size_t kDataOffset = 12;
constexpr std::size_t kChecksum = 16;
constexpr std::size_t kIpv4Length = 2;
constexpr std::size_t kIpv4Checksum = 10;
constexpr std::size_t kIpv6Length = 4;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kMaxLength = 0xffff;

// What the IP header's length field counts.
std::size_t counted_length(const net::Headers& headers) noexcept {
  return headers.family() == net::Family::kIpv4 ? headers.ip_size()
                                                : headers.ip_size() - kIpv6Header;
}

void write_length(std::span<std::byte> bytes, const net::Headers& headers) noexcept {
  const auto length = Be16::from_host(static_cast<std::uint16_t>(counted_length(headers)));
  const std::size_t ip = headers.ip_offset;
  if (headers.family() == net::Family::kIpv6) {
    net::store(bytes, ip + kIpv6Length, length);
    return;
  }
  net::ChecksumUpdate update;
  update.replace(net::load<Be16>(bytes, ip + kIpv4Length), length);
  net::store(bytes, ip + kIpv4Length, length);
  net::store(bytes, ip + kIpv4Checksum, update.apply(net::load<Be16>(bytes, ip + kIpv4Checksum)));
}

void write_tcp_checksum(std::span<std::byte> bytes, const net::Headers& headers) noexcept {
  const auto segment =
      bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
  net::store(segment, kChecksum, Be16());
  net::store(
      segment, kChecksum,
      net::transport_checksum(headers.source, headers.destination, headers.protocol, segment));
}

}  // namespace

std::string_view tcp_payload(const PacketContext& context) noexcept {
  if (context.headers.protocol != net::Protocol::kTcp || !context.headers.has_transport_header) {
    return {};
  }
  const auto segment = context.transport();
  const auto words = net::load<std::uint8_t>(segment, kDataOffset) >> 4;
  const auto header = std::size_t{4} * static_cast<std::size_t>(words);
  constexpr std::size_t kLeastHeader = 20;
  if (header < kLeastHeader || header > segment.size()) return {};
  return net::as_text(segment.subspan(header));
}

bool has_right_checksum(const PacketContext& context) noexcept {
  const auto& headers = context.headers;
  return net::transport_checksum(headers.source, headers.destination, headers.protocol,
                                 context.transport()) == Be16();
}

bool replace_payload(PacketContext& context, std::size_t offset, std::size_t size,
                     std::string_view text) noexcept {
  auto& headers = context.headers;
  const auto payload = tcp_payload(context).size();
  if (offset > payload || size > payload - offset) return false;
  const std::size_t at = headers.end - payload + offset;
  const std::size_t tail = payload - offset - size;
  const std::size_t end = at + text.size() + tail;
  if (counted_length(headers) - size + text.size() > kMaxLength) return false;
  if (!context.packet.resize(headers.end)) return false;
  if (end > headers.end && !context.packet.resize(end)) return false;

  auto* const place = context.packet.bytes().data() + at;
  std::memmove(place + text.size(), place + size, tail);
  std::memcpy(place, text.data(), text.size());
  (void)context.packet.resize(end);
  headers.end = static_cast<std::uint32_t>(end);
  write_length(context.packet.bytes(), headers);
  write_tcp_checksum(context.packet.bytes(), headers);
  return true;
}

}  // namespace lb::engine
