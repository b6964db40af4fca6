// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/icmp_related.hpp"

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::IpAddress;
using net::Protocol;

constexpr std::size_t kIcmpChecksum = 2;

enum class Side { kSource, kDestination };

bool has_port_pair(Protocol protocol) noexcept {
  return protocol == Protocol::kTcp || protocol == Protocol::kUdp || protocol == Protocol::kSctp;
}

/// Writes the address and makes the checksum of an IPv4 header anew, as ip_send_check does: one
/// that was wrong in a quote becomes right.
void write_address(std::span<std::byte> bytes, const net::Headers& headers, Side side,
                   const IpAddress& address) noexcept {
  const std::size_t place = side == Side::kSource ? 0 : 1;
  if (!address.is_v4()) {
    net::store(bytes, headers.ip_offset + 8 + place * 16, address.bytes());
    return;
  }
  const std::size_t checksum = headers.ip_offset + std::size_t{10};
  net::store(bytes, headers.ip_offset + 12 + place * 4, address.word(0));
  net::store(bytes, checksum, Be16());
  net::store(bytes, checksum,
             net::internet_checksum(bytes.subspan(
                 headers.ip_offset,
                 static_cast<std::size_t>(headers.transport_offset - headers.ip_offset))));
}

std::span<std::byte> message(std::span<std::byte> bytes, const net::Headers& headers) noexcept {
  return bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
}

void write_icmp_checksum(std::span<std::byte> bytes, const net::Headers& headers) noexcept {
  const auto icmp = message(bytes, headers);
  net::store(icmp, kIcmpChecksum, Be16());
  net::store(
      icmp, kIcmpChecksum,
      headers.protocol == Protocol::kIcmp
          ? net::internet_checksum(icmp)
          : net::transport_checksum(headers.source, headers.destination, Protocol::kIcmpv6, icmp));
}

/// `outer_side` of the message and the opposite side of the quoted packet become `end`.
bool translate(std::span<std::byte> bytes, net::Headers& headers, const net::Headers& embedded,
               Side outer_side, const net::Endpoint& end) noexcept {
  if (!headers.has_transport_header || end.address.family() != headers.family() ||
      embedded.family() != headers.family()) {
    return false;
  }
  const bool with_ports = has_port_pair(embedded.protocol);
  if (with_ports && !embedded.has_ports) return false;
  // A quote that only seems to fit because it reaches into Ethernet padding is cut off.
  if (with_ports && embedded.transport_offset + std::size_t{4} > headers.end) return false;

  const Side inner_side = outer_side == Side::kSource ? Side::kDestination : Side::kSource;
  write_address(bytes, headers, outer_side, end.address);
  (outer_side == Side::kSource ? headers.source : headers.destination) = end.address;
  write_address(bytes, embedded, inner_side, end.address);
  if (with_ports) {
    net::store(bytes, embedded.transport_offset + (inner_side == Side::kSource ? 0U : 2U),
               end.port);
  }
  write_icmp_checksum(bytes, headers);
  return true;
}

}  // namespace

bool is_related_icmp(const net::Headers& headers) noexcept {
  if (!headers.has_transport_header || headers.fragment_offset != 0) return false;
  if (headers.protocol == Protocol::kIcmpv6) return headers.icmp_type < 128;
  constexpr std::uint8_t kUnreachable = 3;
  constexpr std::uint8_t kSourceQuench = 4;
  constexpr std::uint8_t kTimeExceeded = 11;
  return headers.protocol == Protocol::kIcmp &&
         (headers.icmp_type == kUnreachable || headers.icmp_type == kSourceQuench ||
          headers.icmp_type == kTimeExceeded);
}

bool icmp_checksum_holds(std::span<const std::byte> bytes, const net::Headers& headers) noexcept {
  if (headers.is_fragment()) return false;
  const auto icmp = bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
  if (headers.protocol == Protocol::kIcmp) return net::internet_checksum(icmp) == Be16();
  return net::transport_checksum(headers.source, headers.destination, Protocol::kIcmpv6, icmp) ==
         Be16();
}

bool translate_icmp_to_server(std::span<std::byte> bytes, net::Headers& headers,
                              const net::Headers& embedded,
                              const net::Endpoint& destination) noexcept {
  return translate(bytes, headers, embedded, Side::kDestination, destination);
}

bool translate_icmp_to_client(std::span<std::byte> bytes, net::Headers& headers,
                              const net::Headers& embedded,
                              const net::Endpoint& virtual_end) noexcept {
  return translate(bytes, headers, embedded, Side::kSource, virtual_end);
}

}  // namespace lb::engine
