// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/masquerade.hpp"

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using Bytes = std::span<std::byte>;
using net::Be16;
using net::Be32;
using net::IpAddress;
using net::Protocol;

enum class Side { kSource, kDestination };

constexpr std::size_t kTcpChecksum = 16;
constexpr std::size_t kUdpChecksum = 6;
constexpr std::size_t kSctpChecksum = 8;

std::size_t checksum_offset(const net::Headers& headers) noexcept {
  return headers.transport_offset +
         (headers.protocol == Protocol::kTcp ? kTcpChecksum : kUdpChecksum);
}

std::span<const std::byte> segment(std::span<const std::byte> bytes,
                                   const net::Headers& headers) noexcept {
  return bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
}

Be16 pseudo_header_sum(const net::Headers& headers) noexcept {
  net::InternetSum sum;
  sum.add_pseudo_header(headers.source, headers.destination, headers.protocol,
                        headers.end - headers.transport_offset);
  return sum.sum();
}

/// UDP sends a checksum of zero as its other representation (RFC 768).
Be16 as_sent(Protocol protocol, Be16 checksum) noexcept {
  if (protocol == Protocol::kUdp && checksum == Be16()) return Be16::from_network(0xffff);
  return checksum;
}

void compute_in_full(Bytes bytes, const net::Headers& headers) noexcept {
  if (headers.protocol == Protocol::kSctp) {
    net::store(bytes, headers.transport_offset + kSctpChecksum,
               net::sctp_checksum(segment(bytes, headers)));
    return;
  }
  const std::size_t at = checksum_offset(headers);
  net::store(bytes, at, Be16());
  const Be16 checksum = net::transport_checksum(headers.source, headers.destination,
                                                headers.protocol, segment(bytes, headers));
  net::store(bytes, at, as_sent(headers.protocol, checksum));
}

/// The sender left the checksum to somebody further on (CHECKSUM_PARTIAL in Linux).
bool is_unfinished(std::span<const std::byte> bytes, const net::Headers& headers) noexcept {
  if (headers.is_fragment() || !headers.has_transport_header) return false;
  switch (headers.protocol) {
    case Protocol::kTcp:
    case Protocol::kUdp:
      return net::load<Be16>(bytes, checksum_offset(headers)) == pseudo_header_sum(headers);
    case Protocol::kSctp:
      return net::load<Be32>(bytes, headers.transport_offset + kSctpChecksum) == Be32();
    default:
      return false;
  }
}

void write_address(Bytes bytes, const net::Headers& headers, Side side,
                   const IpAddress& address) noexcept {
  const std::size_t place = side == Side::kSource ? 0 : 1;
  if (address.is_v4()) {
    net::store(bytes, headers.ip_offset + 12 + place * 4, address.word(0));
  } else {
    net::store(bytes, headers.ip_offset + 8 + place * 16, address.bytes());
  }
}

bool rewrite(Bytes bytes, net::Headers& headers, Side side, const net::Endpoint& to) noexcept {
  const bool with_ports = headers.has_ports;
  if (with_ports && !headers.has_transport_header) return false;
  if (to.address.family() != headers.family()) return false;

  IpAddress& address = side == Side::kSource ? headers.source : headers.destination;
  net::Port& port = side == Side::kSource ? headers.source_port : headers.destination_port;
  const bool is_sctp = headers.protocol == Protocol::kSctp;
  const bool port_changes = with_ports && port != to.port;
  // The CRC of an SCTP fragment covers bytes that are not here.
  if (is_sctp && port_changes && headers.is_fragment()) return false;
  const bool unfinished = is_unfinished(bytes, headers);

  net::ChecksumUpdate update;
  update.replace(address, to.address);
  if (address.is_v4()) {
    const std::size_t at = headers.ip_offset + std::size_t{10};
    net::store(bytes, at, update.apply(net::load<Be16>(bytes, at)));
  }
  write_address(bytes, headers, side, to.address);
  address = to.address;
  if (!with_ports) return true;

  update.replace(port, to.port);
  net::store(bytes, headers.transport_offset + (side == Side::kSource ? 0U : 2U), to.port);
  port = to.port;

  if (is_sctp) {
    if (port_changes || unfinished) compute_in_full(bytes, headers);
    return true;
  }
  const std::size_t at = checksum_offset(headers);
  const Be16 checksum = net::load<Be16>(bytes, at);
  const bool has_none = headers.protocol == Protocol::kUdp && checksum == Be16();
  if (unfinished || (has_none && !headers.is_fragment())) {
    compute_in_full(bytes, headers);
  } else if (!has_none) {
    net::store(bytes, at, as_sent(headers.protocol, update.apply(checksum)));
  }
  return true;
}

}  // namespace

bool rewrite_destination(Bytes bytes, net::Headers& headers, const net::Endpoint& to) noexcept {
  return rewrite(bytes, headers, Side::kDestination, to);
}

bool rewrite_source(Bytes bytes, net::Headers& headers, const net::Endpoint& from) noexcept {
  return rewrite(bytes, headers, Side::kSource, from);
}

bool complete_checksum(Bytes bytes, const net::Headers& headers) noexcept {
  if (!is_unfinished(bytes, headers)) return false;
  compute_in_full(bytes, headers);
  return true;
}

}  // namespace lb::engine
