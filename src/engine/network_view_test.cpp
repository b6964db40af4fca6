// SPDX-License-Identifier: Apache-2.0
#include "engine/network_view.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace lb::engine {
namespace {

using net::IpAddress;

IpAddress ip(const char* text) { return IpAddress::from_text(text).value(); }

constexpr InterfaceId kExt{1};
constexpr InterfaceId kInt{2};
const net::Mac kExtMac{{2, 0, 0, 0, 0, 1}};
const net::Mac kIntMac{{2, 0, 0, 0, 0, 2}};
const net::Mac kGatewayMac{{2, 0, 0, 0, 0, 0xfe}};

class NetworkViewTest : public ::testing::Test {
 protected:
  NetworkViewTest() {
    view.set_interface({kExt, "ext", kExtMac, 1500});
    view.set_interface({kInt, "int", kIntMac, 1400});
    view.add_address(kExt, ip("192.0.2.1"), 24);
    view.add_address(kExt, ip("192.0.2.37"), 32);
    view.add_address(kExt, ip("2001:db8:1::1"), 64);
    view.add_address(kInt, ip("10.0.0.1"), 24);
    view.add_address(kInt, ip("fe80::2"), 64);
    view.add_address(kInt, ip("2001:db8:2::1"), 64);
    RouteEntry gateway;
    gateway.via = ip("192.0.2.254");
    gateway.out = kExt;
    view.add_route(gateway);
    gateway.destination = IpAddress::any(net::Family::kIpv6);
    gateway.via = ip("2001:db8:1::fe");
    view.add_route(gateway);
    view.set_neighbour(kExt, ip("192.0.2.254"), kGatewayMac);
  }
  NetworkView view;
};

TEST_F(NetworkViewTest, RoutesByGatewayAndOnTheLink) {
  const auto far = view.route(ip("198.51.100.7"));
  ASSERT_TRUE(far);
  EXPECT_EQ(far->out, kExt);
  EXPECT_EQ(far->address, ip("192.0.2.254"));
  EXPECT_EQ(far->source_mac, kExtMac);
  EXPECT_EQ(far->destination_mac, kGatewayMac);
  EXPECT_TRUE(far->resolved);
  EXPECT_EQ(far->mtu, 1500U);
  const auto near = view.route(ip("10.0.0.103"));
  ASSERT_TRUE(near);
  EXPECT_EQ(near->out, kInt);
  EXPECT_EQ(near->address, ip("10.0.0.103"));
  EXPECT_FALSE(near->resolved);
  EXPECT_EQ(near->mtu, 1400U);
  EXPECT_EQ(view.route(ip("2001:db8:c000::1"))->address, ip("2001:db8:1::fe"));
  EXPECT_EQ(view.route(ip("2001:db8:2::9"))->out, kInt);
}

TEST_F(NetworkViewTest, OwnAddressesAreLocal) {
  EXPECT_TRUE(view.is_local(ip("192.0.2.37")));
  EXPECT_TRUE(view.is_local(ip("2001:db8:2::1")));
  EXPECT_TRUE(view.is_local(ip("127.5.5.5")));
  EXPECT_TRUE(view.is_local(ip("::1")));
  EXPECT_FALSE(view.is_local(ip("192.0.2.38")));
  EXPECT_FALSE(view.is_local(ip("::")));
  EXPECT_EQ(view.route(ip("192.0.2.37"))->out, InterfaceId::kHost);
}

TEST_F(NetworkViewTest, LocalRoutesMakeWholePrefixesLocal) {
  RouteEntry local;
  local.destination = ip("192.88.99.0");
  local.prefix_length = 24;
  local.local = true;
  view.add_route(local);
  EXPECT_TRUE(view.is_local(ip("192.88.99.200")));
  EXPECT_EQ(view.route(ip("192.88.99.1"))->out, InterfaceId::kHost);
  // A longer prefix that is not local wins.
  RouteEntry hole;
  hole.destination = ip("192.88.99.128");
  hole.prefix_length = 25;
  hole.out = kInt;
  view.add_route(hole);
  EXPECT_FALSE(view.is_local(ip("192.88.99.200")));
  EXPECT_TRUE(view.is_local(ip("192.88.99.1")));
  view.remove_route(local);
  EXPECT_FALSE(view.is_local(ip("192.88.99.1")));
}

TEST_F(NetworkViewTest, AnswersFollowEveryChange) {
  const auto target = ip("10.0.0.103");
  const net::Mac server{{2, 0, 0, 0, 0, 0x67}};
  EXPECT_FALSE(view.route(target)->resolved);
  view.set_neighbour(kInt, target, server);
  EXPECT_EQ(view.route(target)->destination_mac, server);
  const auto before = view.generation();
  view.set_neighbour(kInt, target, server);
  EXPECT_EQ(view.generation(), before) << "a refresh is no change";
  view.set_neighbour(kExt, target, kGatewayMac);
  EXPECT_EQ(view.route(target)->destination_mac, server) << "neighbours belong to an interface";
  view.remove_neighbour(kInt, target);
  EXPECT_FALSE(view.route(target)->resolved);
  view.set_interface({kInt, "int", kGatewayMac, 9000});
  EXPECT_EQ(view.route(target)->mtu, 9000U);
  EXPECT_EQ(view.route(target)->source_mac, kGatewayMac);
  view.remove_address(kInt, ip("10.0.0.1"));
  EXPECT_EQ(view.route(target)->out, kExt) << "the default route is left";
  view.remove_interface(kExt);
  EXPECT_FALSE(view.route(target));
  EXPECT_FALSE(view.is_local(ip("192.0.2.37")));
  EXPECT_EQ(view.interface("ext"), nullptr);
  EXPECT_EQ(view.interface("int")->id, kInt);
}

TEST_F(NetworkViewTest, LowestMetricWinsAndTheSameOneReplaces) {
  RouteEntry route;
  route.destination = ip("203.0.113.0");
  route.prefix_length = 24;
  route.out = kInt;
  route.metric = 100;
  view.add_route(route);
  EXPECT_EQ(view.route(ip("203.0.113.5"))->out, kInt);
  RouteEntry better = route;
  better.metric = 50;
  better.out = kExt;
  view.add_route(better);
  EXPECT_EQ(view.route(ip("203.0.113.5"))->out, kExt);
  better.out = kInt;
  view.add_route(better);
  EXPECT_EQ(view.route(ip("203.0.113.5"))->out, kInt);
  view.remove_route(better);
  view.remove_route(route);
  EXPECT_EQ(view.route(ip("203.0.113.5"))->address, ip("192.0.2.254"));
}

TEST_F(NetworkViewTest, PathMtusLowerThatOfTheInterface) {
  view.set_path_mtu(ip("198.51.100.7"), 1300);
  EXPECT_EQ(view.route(ip("198.51.100.7"))->mtu, 1300U);
  EXPECT_EQ(view.route(ip("198.51.100.8"))->mtu, 1500U);
  view.set_path_mtu(ip("198.51.100.7"), 68);
  EXPECT_EQ(view.route(ip("198.51.100.7"))->mtu, 552U);
  view.set_path_mtu(ip("2001:db8:c000::1"), 100);
  EXPECT_EQ(view.route(ip("2001:db8:c000::1"))->mtu, 1280U);
  view.set_path_mtu(ip("198.51.100.9"), 9000);
  EXPECT_EQ(view.route(ip("198.51.100.9"))->mtu, 1500U);
  view.forget_path_mtus();
  EXPECT_EQ(view.route(ip("198.51.100.7"))->mtu, 1500U);
}

TEST_F(NetworkViewTest, SourceAddresses) {
  EXPECT_EQ(view.source_for(ip("198.51.100.7")), ip("192.0.2.1"));
  EXPECT_EQ(view.source_for(ip("10.0.0.103")), ip("10.0.0.1"));
  EXPECT_EQ(view.source_for(ip("2001:db8:2::67")), ip("2001:db8:2::1"));
  EXPECT_EQ(view.source_for(ip("fe80::9")), ip("fe80::2"));
  EXPECT_EQ(view.source_for(ip("192.0.2.37")), ip("192.0.2.37"));
  RouteEntry preferred;
  preferred.destination = ip("203.0.113.0");
  preferred.prefix_length = 24;
  preferred.out = kExt;
  preferred.source = ip("192.0.2.37");
  view.add_route(preferred);
  EXPECT_EQ(view.source_for(ip("203.0.113.9")), ip("192.0.2.37"));
  EXPECT_EQ(view.interface_address(kInt, net::Family::kIpv6), ip("2001:db8:2::1"));
  EXPECT_FALSE(view.interface_address(InterfaceId{9}, net::Family::kIpv4));
}

// Against the obvious: go through all routes and keep the longest that fits.
TEST(NetworkViewProperty, LongestPrefixEqualsALinearSearch) {
  std::mt19937 random(5);
  NetworkView view;
  for (std::uint32_t id = 1; id <= 40; ++id) {
    view.set_interface({InterfaceId{id}, "if", kExtMac, 1000 + id});
  }
  std::vector<RouteEntry> routes;
  const auto random_address = [&](bool v4) {
    // Few distinct bits, so that prefixes nest.
    std::array<std::uint8_t, 16> bytes{};
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % 4 * 0x55);
    return v4 ? IpAddress::v4(net::Be32::from_network(static_cast<std::uint32_t>(
                    bytes[0] | bytes[1] << 8 | bytes[2] << 16 | 7 << 24)))
              : IpAddress::v6(bytes);
  };
  for (int round = 0; round < 4000; ++round) {
    const bool v4 = random() % 2 == 0;
    const unsigned action = random() % 8;
    if (action < 2 || routes.empty()) {
      RouteEntry route;
      route.prefix_length = static_cast<std::uint8_t>(random() % (v4 ? 33 : 129));
      route.destination = random_address(v4).prefix(route.prefix_length);
      route.out = InterfaceId{static_cast<std::uint32_t>(1 + random() % 40)};
      view.add_route(route);
      std::erase_if(routes, [&](const RouteEntry& other) {
        return other.destination == route.destination && other.prefix_length == route.prefix_length;
      });
      routes.push_back(route);
    } else if (action == 2) {
      const std::size_t which = random() % routes.size();
      view.remove_route(routes[which]);
      routes.erase(routes.begin() + static_cast<std::ptrdiff_t>(which));
    }
    const auto target = random_address(v4);
    const RouteEntry* best = nullptr;
    for (const RouteEntry& route : routes) {
      if (route.destination.family() == target.family() &&
          target.prefix(route.prefix_length) == route.destination &&
          (best == nullptr || route.prefix_length > best->prefix_length)) {
        best = &route;
      }
    }
    const auto hop = view.route(target);
    if (target.is_loopback()) continue;
    ASSERT_EQ(hop.has_value(), best != nullptr);
    if (best != nullptr) {
      ASSERT_EQ(hop->out, best->out);
    }
  }
}

}  // namespace
}  // namespace lb::engine
