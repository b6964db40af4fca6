// SPDX-License-Identifier: Apache-2.0
#include "datapath/network_follower.hpp"

#include <gtest/gtest.h>

namespace lb::datapath {
namespace {

net::IpAddress address(std::string_view text) { return net::IpAddress::from_text(text).value(); }

TEST(NetworkFollower, PathMtusAreForgottenEveryTenMinutes) {
  engine::NetworkView view;
  // Reads whatever network this machine has; no privilege is needed.
  auto follower = NetworkFollower::create(view, [](LogLevel, std::string_view) {});
  ASSERT_TRUE(follower) << follower.error();
  constexpr auto kLink = engine::InterfaceId{0x7fffffff};
  view.set_interface({.id = kLink, .name = "made-up", .mac = {}, .mtu = 1500});
  engine::RouteEntry route;
  route.destination = address("203.0.113.0");
  route.prefix_length = 24;
  route.out = kLink;
  view.add_route(route);
  const auto far = address("203.0.113.9");
  const auto mtu = [&] { return view.route(far)->mtu; };

  (*follower)->advance(Timestamp{std::chrono::seconds(0)});
  view.set_path_mtu(far, 1400);
  (*follower)->advance(Timestamp{std::chrono::minutes(9)});
  EXPECT_EQ(mtu(), 1400U);
  (*follower)->advance(Timestamp{std::chrono::minutes(10)});
  EXPECT_EQ(mtu(), 1500U);
  view.set_path_mtu(far, 1300);
  (*follower)->advance(Timestamp{std::chrono::minutes(19)});
  EXPECT_EQ(mtu(), 1300U);
  (*follower)->advance(Timestamp{std::chrono::minutes(20)});
  EXPECT_EQ(mtu(), 1500U);
}

TEST(NetworkFollower, LinksAreFoundByName) {
  engine::NetworkView view;
  auto follower = NetworkFollower::create(view, [](LogLevel, std::string_view) {});
  ASSERT_TRUE(follower) << follower.error();
  const auto* loopback = (*follower)->link("lo");
  ASSERT_NE(loopback, nullptr);
  EXPECT_TRUE(loopback->is_loopback);
  EXPECT_EQ((*follower)->link("no-such-link"), nullptr);
}

}  // namespace
}  // namespace lb::datapath
