// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/ethernet.hpp"

#include "net/bytes.hpp"

namespace lb::engine {

void write_ethernet(std::span<std::byte> frame, std::size_t ip_offset, net::Family family,
                    const NextHop& hop) noexcept {
  constexpr std::uint16_t kIpv4Type = 0x0800;
  constexpr std::uint16_t kIpv6Type = 0x86dd;
  net::store(frame, 0, hop.resolved ? hop.destination_mac.bytes : net::Mac{}.bytes);
  net::store(frame, 6, hop.source_mac.bytes);
  net::store(frame, ip_offset - 2,
             net::Be16::from_host(family == net::Family::kIpv4 ? kIpv4Type : kIpv6Type));
}

}  // namespace lb::engine
