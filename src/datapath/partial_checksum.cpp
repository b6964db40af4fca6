// SPDX-License-Identifier: Apache-2.0
#include "datapath/partial_checksum.hpp"

#include "net/byte_order.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"
#include "net/parse.hpp"

namespace lb::datapath {

std::optional<PartialChecksum> find_partial_checksum(std::span<const std::byte> frame) noexcept {
  constexpr std::uint16_t kTcpChecksum = 16;
  constexpr std::uint16_t kUdpChecksum = 6;
  const auto headers = net::parse_frame(frame);
  if (!headers || headers->is_fragment() || !headers->has_transport_header) return std::nullopt;
  const bool is_tcp = headers->protocol == net::Protocol::kTcp;
  if (!is_tcp && headers->protocol != net::Protocol::kUdp) return std::nullopt;

  const PartialChecksum found{.start = headers->transport_offset,
                              .offset = is_tcp ? kTcpChecksum : kUdpChecksum};
  const auto field = net::Be16::from_network(
      net::load<std::uint16_t>(frame, std::size_t{found.start} + found.offset));
  net::InternetSum pseudo;
  pseudo.add_pseudo_header(headers->source, headers->destination, headers->protocol,
                           headers->end - headers->transport_offset);
  // The sum is kept as it is, not complemented. Zero is "none" in UDP (RFC 768).
  if (field != pseudo.sum() || field.to_host() == 0) return std::nullopt;
  return found;
}

}  // namespace lb::datapath
