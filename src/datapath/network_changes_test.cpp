// SPDX-License-Identifier: Apache-2.0
#include "datapath/network_changes.hpp"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <random>

namespace lb::datapath {
namespace {

net::IpAddress address(std::string_view text) { return net::IpAddress::from_text(text).value(); }

/// A routing netlink message in a buffer of its own.
class Message {
 public:
  explicit Message(std::uint16_t type) : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = type;
  }
  template <class Header>
  Message& with(const Header& header) {
    std::memcpy(mnl_nlmsg_put_extra_header(header_, sizeof(header)), &header, sizeof(header));
    return *this;
  }
  Message& with(std::uint16_t type, const net::IpAddress& value) {
    mnl_attr_put(header_, type, value.size(), value.bytes().data());
    return *this;
  }
  Message& with(std::uint16_t type, std::uint32_t value) {
    mnl_attr_put_u32(header_, type, value);
    return *this;
  }
  Message& with(std::uint16_t type, const std::string& bytes) {
    mnl_attr_put(header_, type, bytes.size(), bytes.data());
    return *this;
  }
  nlmsghdr& header() { return *header_; }

 private:
  alignas(nlmsghdr) std::array<char, 1024> buffer_{};
  nlmsghdr* header_;
};

rtmsg route_header(std::uint8_t family, std::uint8_t length) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_dst_len = length;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_type = RTN_UNICAST;
  return header;
}

TEST(NetworkChanges, RouteByGateway) {
  Message message(RTM_NEWROUTE);
  message.with(route_header(AF_INET, 24))
      .with(RTA_DST, address("203.0.113.0"))
      .with(RTA_GATEWAY, address("10.0.0.1"))
      .with(RTA_OIF, 7)
      .with(RTA_PRIORITY, 100)
      .with(RTA_PREFSRC, address("10.0.0.9"));
  const auto change = read_change(message.header());
  const auto* route = std::get_if<RouteChange>(&change);
  ASSERT_NE(route, nullptr);
  const engine::RouteEntry expected{.destination = address("203.0.113.0"),
                                    .prefix_length = 24,
                                    .via = address("10.0.0.1"),
                                    .out = engine::InterfaceId{7},
                                    .metric = 100,
                                    .source = address("10.0.0.9")};
  EXPECT_EQ(route->route, expected);
  EXPECT_FALSE(route->removed);
  EXPECT_FALSE(route->is_local);
}

TEST(NetworkChanges, MultipathRouteGoesByItsFirstLivingHop) {
  struct Hop {
    rtnexthop head;
    nlattr gateway;
    std::array<std::uint8_t, 4> address;
  };
  static_assert(sizeof(Hop) == 16);
  std::array<Hop, 2> hops{};
  for (std::uint8_t i = 0; i < 2; ++i) {
    hops[i].head = {
        .rtnh_len = sizeof(Hop), .rtnh_flags = 0, .rtnh_hops = 0, .rtnh_ifindex = 3 + i};
    hops[i].gateway = {.nla_len = 8, .nla_type = RTA_GATEWAY};
    hops[i].address = {10, 0, i, 1};
  }
  hops[0].head.rtnh_flags = RTNH_F_DEAD;
  std::string bytes(sizeof(hops), '\0');
  std::memcpy(bytes.data(), hops.data(), sizeof(hops));
  Message message(RTM_NEWROUTE);
  message.with(route_header(AF_INET, 0)).with(RTA_MULTIPATH, bytes);
  const auto change = read_change(message.header());
  const auto* route = std::get_if<RouteChange>(&change);
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->route.out, engine::InterfaceId{4});
  EXPECT_EQ(route->route.via, address("10.0.1.1"));
}

TEST(NetworkChanges, OtherTablesAndKindsOfRoutesSayNothing) {
  auto other_table = route_header(AF_INET, 0);
  other_table.rtm_table = 100;
  Message policy(RTM_NEWROUTE);
  policy.with(other_table).with(RTA_OIF, 7);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(read_change(policy.header())));

  auto blackhole = route_header(AF_INET, 0);
  blackhole.rtm_type = RTN_BLACKHOLE;
  Message refused(RTM_NEWROUTE);
  refused.with(blackhole).with(RTA_OIF, 7);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(read_change(refused.header())));
}

TEST(NetworkChanges, AddressOfAPointToPointLinkIsTheLocalOne) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = 30;
  header.ifa_index = 5;
  Message message(RTM_NEWADDR);
  message.with(header).with(IFA_ADDRESS, address("10.9.0.2")).with(IFA_LOCAL, address("10.9.0.1"));
  const auto change = read_change(message.header());
  const auto* own = std::get_if<AddressChange>(&change);
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->address, address("10.9.0.1"));
  EXPECT_EQ(own->prefix_length, 32);
}

TEST(NetworkChanges, NeighbourStates) {
  const auto read = [](std::uint16_t state, std::uint16_t type = RTM_NEWNEIGH) {
    ndmsg header{};
    header.ndm_family = AF_INET6;
    header.ndm_ifindex = 5;
    header.ndm_state = state;
    Message message(type);
    message.with(header).with(NDA_DST, address("2001:db8::2")).with(NDA_LLADDR, std::string(6, 2));
    return std::get<NeighbourChange>(read_change(message.header()));
  };
  EXPECT_TRUE(read(NUD_STALE).mac.has_value());
  EXPECT_TRUE(read(NUD_PERMANENT).mac.has_value());
  EXPECT_TRUE(read(NUD_PERMANENT).is_fixed);
  EXPECT_TRUE(read(NUD_NOARP).is_fixed);
  EXPECT_FALSE(read(NUD_REACHABLE).is_fixed);
  EXPECT_FALSE(read(NUD_INCOMPLETE).mac.has_value());
  EXPECT_FALSE(read(NUD_INCOMPLETE).failed);
  EXPECT_TRUE(read(NUD_FAILED).failed);
  EXPECT_FALSE(read(NUD_REACHABLE, RTM_DELNEIGH).mac.has_value());
}

/// Lengths inside of a message lie: nothing is read beyond it (the sanitizers would tell).
TEST(NetworkChanges, HostileLengths) {
  std::mt19937 random(5);  // NOLINT
  for (int i = 0; i < 20000; ++i) {
    Message message(static_cast<std::uint16_t>(RTM_NEWLINK + random() % 16));
    message.with(route_header(random() % 2 == 0 ? AF_INET : AF_INET6, 24))
        .with(RTA_DST, address("203.0.113.0"))
        .with(RTA_OIF, 7)
        .with(RTA_MULTIPATH, std::string(random() % 64, static_cast<char>(random())));
    std::vector<std::uint8_t> bytes(message.header().nlmsg_len);
    std::memcpy(bytes.data(), &message.header(), bytes.size());
    for (int changes = 0; changes < 4; ++changes) {
      bytes[sizeof(nlmsghdr) + random() % (bytes.size() - sizeof(nlmsghdr))] =
          static_cast<std::uint8_t>(random());
    }
    // A heap block of the exact size, so that reading beyond it is found.
    const auto change = read_change(*reinterpret_cast<const nlmsghdr*>(bytes.data()));
    if (const auto* route = std::get_if<RouteChange>(&change)) {
      EXPECT_TRUE(route->removed || route->route.out != engine::InterfaceId::kNone);
    }
  }
}

}  // namespace
}  // namespace lb::datapath
