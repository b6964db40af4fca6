// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <gtest/gtest.h>

namespace lb::net {
namespace {

TEST(IpAddress, TextGoesBothWays) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1",
                           "2001:db8:0:1:1:1:1:1", "::ffff:192.0.2.1"}) {
    const auto address = IpAddress::from_text(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_text(), text);
  }
}

TEST(IpAddress, RefusesWhatIsNotAnAddress) {
  for (const char* text :
       {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "192.0.2.1 ", "2001:db8::1::2", "[2001:db8::1]",
        "2001:db8::1/64", "example", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"}) {
    EXPECT_FALSE(IpAddress::from_text(text)) << text;
  }
  EXPECT_FALSE(IpAddress::from_text(std::string_view("192.0.2.1\0", 10)));
}

TEST(IpAddress, Ipv4HasItsBytesInFrontAndZerosBehind) {
  const auto address = IpAddress::from_text("192.0.2.37");
  ASSERT_TRUE(address);
  EXPECT_EQ(*address, IpAddress::v4(Be32::from_host(0xc0000225)));
  EXPECT_NE(*address, *IpAddress::from_text("c000:225::"));
}

TEST(IpAddress, PrefixKeepsTheFirstBits) {
  const auto v4 = *IpAddress::from_text("192.0.2.255");
  EXPECT_EQ(v4.prefix(24).to_text(), "192.0.2.0");
  EXPECT_EQ(v4.prefix(25).to_text(), "192.0.2.128");
  EXPECT_EQ(v4.prefix(31).to_text(), "192.0.2.254");
  EXPECT_EQ(v4.prefix(0).to_text(), "0.0.0.0");
  EXPECT_EQ(v4.prefix(32), v4);
  EXPECT_EQ(v4.prefix(200), v4);
  const auto v6 = *IpAddress::from_text("2001:db8:ffff:ffff::1");
  EXPECT_EQ(v6.prefix(33).to_text(), "2001:db8:8000::");
  EXPECT_EQ(v6.prefix(0).to_text(), "::");
  EXPECT_EQ(v6.prefix(128), v6);
}

TEST(IpAddress, Kinds) {
  EXPECT_TRUE(IpAddress::from_text("224.0.0.81")->is_multicast());
  EXPECT_TRUE(IpAddress::from_text("ff02::1")->is_multicast());
  EXPECT_FALSE(IpAddress::from_text("240.0.0.1")->is_multicast());
  EXPECT_TRUE(IpAddress::from_text("255.255.255.255")->is_broadcast());
  EXPECT_TRUE(IpAddress::from_text("127.1.2.3")->is_loopback());
  EXPECT_TRUE(IpAddress::from_text("::1")->is_loopback());
  EXPECT_FALSE(IpAddress::from_text("::2")->is_loopback());
  EXPECT_TRUE(IpAddress::from_text("febf::1")->is_link_local_v6());
  EXPECT_FALSE(IpAddress::from_text("fec0::1")->is_link_local_v6());
  EXPECT_TRUE(IpAddress().is_unspecified());
  EXPECT_TRUE(IpAddress::any(Family::kIpv6).is_unspecified());
}

TEST(Mac, TextGoesBothWays) {
  EXPECT_EQ(Mac::from_text("02:00:0A:bc:De:ff")->to_text(), "02:00:0a:bc:de:ff");
  for (const char* text :
       {"", "02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01", "02:00:00:00:00:01:02"}) {
    EXPECT_FALSE(Mac::from_text(text)) << text;
  }
}

}  // namespace
}  // namespace lb::net
