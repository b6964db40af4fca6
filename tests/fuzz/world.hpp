// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/network_view.hpp"
#include "net/address.hpp"

/// The network of the recorded cases (tests/ipvs-oracle), so that recorded frames and command
/// lines are good first inputs: clients behind 192.0.2.254, real servers in 10.0.0.0/24.
namespace lb::fuzz {

inline constexpr engine::InterfaceId kOutside{1};
inline constexpr engine::InterfaceId kInside{2};

inline net::IpAddress ip(std::string_view text) { return net::IpAddress::from_text(text).value(); }

inline net::IpAddress with_last_byte(const net::IpAddress& base, std::uint8_t last) {
  auto bytes = base.bytes();
  if (!base.is_v4()) {
    bytes[15] = last;
    return net::IpAddress::v6(bytes);
  }
  return net::IpAddress::v4(net::Be32::from_host((base.word(0).to_host() & 0xffffff00U) | last));
}

/// 192.0.2.x or 2001:db8:10:1::1xx.
inline net::IpAddress virtual_address(bool is_v6, std::uint8_t last) {
  static const std::array kBases{ip("192.0.2.0"), ip("2001:db8:10:1::100")};
  return with_last_byte(kBases[is_v6 ? 1 : 0], last);
}
/// 10.0.0.x or 2001:db8:10:2::x.
inline net::IpAddress server_address(bool is_v6, std::uint8_t last) {
  static const std::array kBases{ip("10.0.0.0"), ip("2001:db8:10:2::")};
  return with_last_byte(kBases[is_v6 ? 1 : 0], last);
}
/// 198.51.100.x or 2001:db8:99::x.
inline net::IpAddress client_address(bool is_v6, std::uint8_t last) {
  static const std::array kBases{ip("198.51.100.0"), ip("2001:db8:99::")};
  return with_last_byte(kBases[is_v6 ? 1 : 0], last);
}

/// The default routes and the neighbours; again after they were changed.
inline void fill_paths(engine::NetworkView& network) {
  for (const auto& [prefix, gateway] :
       {std::pair{"0.0.0.0", "192.0.2.254"}, std::pair{"::", "2001:db8:10:1::fe"}}) {
    network.add_route({.destination = ip(prefix),
                       .prefix_length = 0,
                       .via = ip(gateway),
                       .out = kOutside,
                       .source = {}});
    network.set_neighbour(kOutside, ip(gateway), {{2, 0, 0, 0, 1, 254}});
  }
  constexpr std::array<std::uint8_t, 10> kServers{103, 112, 126, 148, 149, 155, 160, 162, 177, 183};
  for (const auto last : kServers) {
    for (const bool is_v6 : {false, true}) {
      network.set_neighbour(kInside, server_address(is_v6, last), {{2, 0, 0, 0, 2, last}});
    }
  }
}

inline void fill(engine::NetworkView& network) {
  network.set_interface({.id = kOutside, .name = "ext", .mac = {{2, 0, 0, 0, 1, 1}}});
  network.set_interface({.id = kInside, .name = "int", .mac = {{2, 0, 0, 0, 2, 1}}});
  network.add_address(kOutside, ip("192.0.2.1"), 24);
  network.add_address(kOutside, ip("2001:db8:10:1::1"), 64);
  network.add_address(kInside, ip("10.0.0.1"), 24);
  network.add_address(kInside, ip("2001:db8:10:2::1"), 64);
  // Every virtual address of the cases: 192.0.2.0/25 and 2001:db8:10:1::100/120.
  network.add_route({.destination = ip("192.0.2.0"),
                     .prefix_length = 25,
                     .via = {},
                     .out = kOutside,
                     .source = {},
                     .local = true});
  network.add_route({.destination = ip("2001:db8:10:1::100"),
                     .prefix_length = 120,
                     .via = {},
                     .out = kOutside,
                     .source = {},
                     .local = true});
  fill_paths(network);
}

}  // namespace lb::fuzz
