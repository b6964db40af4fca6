// SPDX-License-Identifier: Apache-2.0
#include "replay/frame_checksum.hpp"

#include <array>
#include <optional>

#include "replay/ip_view.hpp"

namespace lb::replay {
namespace {

constexpr std::uint32_t kCrcStart = 0xffffffff;

std::uint32_t crc32c_over(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
  for (const auto byte : bytes) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
  }
  return crc;
}

std::uint32_t crc32c_field(std::uint32_t crc) noexcept { return __builtin_bswap32(~crc); }

bool tcp_or_icmp_is_right(const IpView& ip, bool with_pseudo_header) {
  const auto payload = ip.payload();
  const auto start =
      with_pseudo_header ? pseudo_header_sum(ip.packet, ip.protocol, payload.size()) : 0;
  return plain_checksum(payload, start) == 0;
}

bool udp_is_right(const IpView& ip) {
  const auto payload = ip.payload();
  if (payload.size() < 8) return true;
  // Zero: not computed (RFC 768); over IPv6 tunnels alone may do that (RFC 6935).
  if (read16(payload, 6) == 0 && (ip.is_v4() || view_tunnelled(ip))) return true;
  return tcp_or_icmp_is_right(ip, true);
}

bool sctp_is_right(const IpView& ip) {
  const auto payload = ip.payload();
  if (payload.size() < 12) return true;
  // The sum is made with its own field zero (RFC 9260, 6.8).
  auto crc = crc32c_over(kCrcStart, payload.first(8));
  crc = crc32c_over(crc, std::array<std::byte, 4>{});
  crc = crc32c_over(crc, payload.subspan(12));
  return crc32c_field(crc) == read32(payload, 8);
}

/// The name of the transport if its checksum is wrong.
std::optional<std::string> wrong_transport(const IpView& ip) {
  if (ip.is_fragment()) return std::nullopt;
  switch (ip.protocol) {
    case 1:
      if (!tcp_or_icmp_is_right(ip, false)) return "icmp";
      break;
    case 6:
      if (!tcp_or_icmp_is_right(ip, true)) return "tcp";
      break;
    case 17:
      if (!udp_is_right(ip)) return "udp";
      break;
    case 47:
      if (ip.payload().size() >= 8 && (read8(ip.payload(), 0) & 0x80) != 0 &&
          plain_checksum(ip.payload()) != 0) {
        return "gre";
      }
      break;
    case 58:
      if (!tcp_or_icmp_is_right(ip, true)) return "icmp6";
      break;
    case 132:
      if (!sctp_is_right(ip)) return "sctp";
      break;
    default:
      break;
  }
  return std::nullopt;
}

}  // namespace

std::uint16_t plain_checksum(std::span<const std::byte> bytes, std::uint32_t start) noexcept {
  std::uint64_t sum = start;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += read16(bytes, i);
  if (bytes.size() % 2 != 0) sum += std::uint32_t{read8(bytes, bytes.size() - 1)} * 256;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::uint32_t plain_crc32c(std::span<const std::byte> bytes) noexcept {
  return crc32c_field(crc32c_over(kCrcStart, bytes));
}

std::uint32_t pseudo_header_sum(std::span<const std::byte> ip, std::uint8_t protocol,
                                std::size_t length) noexcept {
  const bool is_v4 = read8(ip, 0) >> 4 == 4;
  const std::size_t first = is_v4 ? 12 : 8;
  const std::size_t last = is_v4 ? 20 : 40;
  std::uint32_t sum = protocol;
  sum += static_cast<std::uint32_t>(length);
  for (std::size_t i = first; i < last; i += 2) sum += read16(ip, i);
  return sum;
}

std::vector<std::string> wrong_checksums(std::span<const std::byte> frame) {
  std::vector<std::string> wrong;
  std::string prefix;
  for (auto ip = view_frame(frame); ip; ip = view_tunnelled(*ip)) {
    const std::size_t fixed_header = std::size_t{read8(ip->packet, 0)} % 16 * 4;
    if (ip->is_v4() && plain_checksum(ip->packet.first(fixed_header)) != 0) {
      wrong.push_back(prefix + "ip");
    }
    if (const auto transport = wrong_transport(*ip)) wrong.push_back(prefix + *transport);
    prefix += "ip>";
  }
  return wrong;
}

}  // namespace lb::replay
