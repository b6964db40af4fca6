// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/echo.hpp"

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using Bytes = std::span<std::byte>;
using net::Be16;

constexpr std::size_t kChecksum = 2;
constexpr std::size_t kIdentifier = 4;
constexpr std::size_t kHeader = 8;

enum class Side { kSource, kDestination };

bool is_echo(const net::Headers& headers) noexcept {
  constexpr std::uint8_t kReply = 0;
  constexpr std::uint8_t kRequest = 8;
  constexpr std::uint8_t kRequestV6 = 128;
  constexpr std::uint8_t kReplyV6 = 129;
  if (headers.protocol == net::Protocol::kIcmp) {
    return headers.icmp_type == kReply || headers.icmp_type == kRequest;
  }
  return headers.protocol == net::Protocol::kIcmpv6 &&
         (headers.icmp_type == kRequestV6 || headers.icmp_type == kReplyV6);
}

void update_checksum(Bytes bytes, std::size_t at, const net::ChecksumUpdate& update) noexcept {
  net::store(bytes, at, update.apply(net::load<Be16>(bytes, at)));
}

bool rewrite(Bytes bytes, net::Headers& headers, Side side, const net::Endpoint& end) noexcept {
  if (end.address.family() != headers.family() || headers.fragment_offset != 0) return false;
  if (!net::holds(bytes, headers.transport_offset, kHeader)) return false;
  auto& address = side == Side::kSource ? headers.source : headers.destination;
  const std::size_t place = side == Side::kSource ? 0 : 1;
  net::ChecksumUpdate update;
  if (address.is_v4()) {
    // The checksum of ICMP does not cover addresses, that of ICMPv6 does.
    net::ChecksumUpdate of_header;
    of_header.replace(address, end.address);
    update_checksum(bytes, headers.ip_offset + std::size_t{10}, of_header);
    net::store(bytes, headers.ip_offset + 12 + place * 4, end.address.word(0));
  } else {
    update.replace(address, end.address);
    net::store(bytes, headers.ip_offset + 8 + place * 16, end.address.bytes());
  }
  address = end.address;
  const auto at = headers.transport_offset + kIdentifier;
  update.replace(net::load<net::Port>(bytes, at), end.port);
  net::store(bytes, at, end.port);
  update_checksum(bytes, headers.transport_offset + kChecksum, update);
  return true;
}

}  // namespace

std::optional<net::Port> echo_identifier(std::span<const std::byte> bytes,
                                         const net::Headers& headers) noexcept {
  if (!is_echo(headers) || headers.fragment_offset != 0 ||
      !net::holds(bytes, headers.transport_offset, kHeader)) {
    return std::nullopt;
  }
  return net::load<net::Port>(bytes, headers.transport_offset + kIdentifier);
}

bool is_echo_request(const net::Headers& headers) noexcept {
  constexpr std::uint8_t kRequest = 8;
  constexpr std::uint8_t kRequestV6 = 128;
  return headers.icmp_type == (headers.protocol == net::Protocol::kIcmp ? kRequest : kRequestV6);
}

bool rewrite_echo_source(Bytes bytes, net::Headers& headers, const net::Endpoint& end) noexcept {
  return rewrite(bytes, headers, Side::kSource, end);
}

bool rewrite_echo_destination(Bytes bytes, net::Headers& headers,
                              const net::Endpoint& end) noexcept {
  return rewrite(bytes, headers, Side::kDestination, end);
}

void rewrite_quoted_echo(Bytes bytes, const net::Headers& quoted, net::Port identifier,
                         const net::IpAddress& was, const net::IpAddress& will_be) noexcept {
  const auto at = quoted.transport_offset + kIdentifier;
  net::ChecksumUpdate update;
  update.replace(net::load<net::Port>(bytes, at), identifier);
  if (!was.is_v4()) update.replace(was, will_be);
  net::store(bytes, at, identifier);
  update_checksum(bytes, quoted.transport_offset + kChecksum, update);
}

}  // namespace lb::engine
