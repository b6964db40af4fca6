// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/icmp_error.hpp"

#include <algorithm>

#include "engine/forward/ethernet.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::Be32;
using net::Family;
using net::IpAddress;
using net::Protocol;

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv6Size = 40;
constexpr std::size_t kIcmpSize = 8;
constexpr std::size_t kIpv4Limit = 576;   // RFC 1812, 4.3.2.3
constexpr std::size_t kIpv6Limit = 1280;  // RFC 4443, 2.4 (c)
constexpr std::uint8_t kTtl = 64;

/// An error must never cause another (RFC 1122, 3.2.2; RFC 4443, 2.4 (e)).
bool is_icmp_error(const net::Headers& headers) noexcept {
  if (headers.protocol == Protocol::kIcmpv6) {
    constexpr std::uint8_t kRedirect = 137;
    return headers.icmp_type < 128 || headers.icmp_type == kRedirect;
  }
  if (headers.protocol != Protocol::kIcmp) return false;
  switch (headers.icmp_type) {
    case 0:   // echo reply
    case 8:   // echo request
    case 9:   // router advertisement
    case 10:  // router solicitation
    case 13:  // timestamp and its reply, information and its, address mask and its
    case 14:
    case 15:
    case 16:
    case 17:
    case 18:
      return false;
    default:
      return true;  // unknown types count as errors
  }
}

bool may_be_answered(const net::Headers& headers, const IcmpError& error) noexcept {
  if (headers.fragment_offset != 0 || is_icmp_error(headers)) return false;
  const IpAddress& sender = headers.source;
  if (sender.is_unspecified() || sender.is_multicast() || sender.is_broadcast()) return false;
  if (headers.destination.is_broadcast()) return false;
  // "Too big" about multicast is the exception that IPv6 makes (RFC 4443, 2.4 (e.3)).
  const bool is_too_big = headers.family() == Family::kIpv6 && error.type == 2;
  return !headers.destination.is_multicast() || is_too_big;
}

void write_ipv4(std::span<std::byte> ip, const IpAddress& source, const net::Headers& about,
                Be16 identification) noexcept {
  // Precedence "internetwork control", type of service of the offending packet
  // (RFC 1812, 4.3.2.5); without the lowest bit, which TOS never used.
  const unsigned tos = (about.tos & 0x1eU) | 0xc0U;
  net::store(ip, 0, Be16::from_host(static_cast<std::uint16_t>(0x4500U | tos)));
  net::store(ip, 2, Be16::from_host(static_cast<std::uint16_t>(ip.size())));
  net::store(ip, 4, identification);
  net::store(ip, 6, Be16());
  ip[8] = std::byte{kTtl};
  ip[9] = static_cast<std::byte>(Protocol::kIcmp);
  net::store(ip, 10, Be16());
  net::store(ip, 12, source.word(0));
  net::store(ip, 16, about.source.word(0));
  net::store(ip, 10, net::internet_checksum(ip.first(kIpv4Size)));
}

void write_ipv6(std::span<std::byte> ip, const IpAddress& source,
                const net::Headers& about) noexcept {
  net::store(ip, 0, Be32::from_host(0x60000000U));
  net::store(ip, 4, Be16::from_host(static_cast<std::uint16_t>(ip.size() - kIpv6Size)));
  ip[6] = static_cast<std::byte>(Protocol::kIcmpv6);
  ip[7] = std::byte{kTtl};
  net::store(ip, 8, source.bytes());
  net::store(ip, 24, about.source.bytes());
}

}  // namespace

bool send_icmp_error(std::span<const std::byte> bytes, const net::Headers& headers,
                     const IcmpError& error, Be16 identification, const NetworkView& network,
                     Outputs& outputs) noexcept {
  if (!may_be_answered(headers, error)) return false;
  const auto hop = network.route(headers.source);
  if (!hop) return false;
  const auto source = network.is_local(headers.destination) && !headers.destination.is_multicast()
                          ? std::optional(headers.destination)
                          : network.source_for(headers.source);
  if (!source) return false;

  const bool is_v4 = headers.family() == Family::kIpv4;
  const std::size_t ip_header = is_v4 ? kIpv4Size : kIpv6Size;
  const std::size_t limit = is_v4 ? kIpv4Limit : kIpv6Limit;
  const std::size_t quoted =
      std::min(std::min<std::size_t>(headers.end, bytes.size()) - headers.ip_offset,
               limit - ip_header - kIcmpSize);
  const auto frame = outputs.reserve(kEthernetSize + ip_header + kIcmpSize + quoted);
  if (frame.empty()) return false;

  const auto ip = frame.subspan(kEthernetSize);
  const auto icmp = ip.subspan(ip_header);
  std::copy_n(bytes.begin() + headers.ip_offset, quoted,
              icmp.begin() + static_cast<std::ptrdiff_t>(kIcmpSize));
  icmp[0] = std::byte{error.type};
  icmp[1] = std::byte{error.code};
  net::store(icmp, 2, Be16());
  net::store(icmp, 4, Be32::from_host(error.rest));
  if (is_v4) {
    net::store(icmp, 2, net::internet_checksum(icmp));
    write_ipv4(ip, *source, headers, identification);
  } else {
    net::store(icmp, 2, net::transport_checksum(*source, headers.source, Protocol::kIcmpv6, icmp));
    write_ipv6(ip, *source, headers);
  }
  write_ethernet(frame, kEthernetSize, headers.family(), *hop);
  outputs.commit(hop->out == InterfaceId::kHost ? Verdict::host() : Verdict::send(*hop));
  return true;
}

}  // namespace lb::engine
