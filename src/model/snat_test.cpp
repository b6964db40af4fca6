// SPDX-License-Identifier: Apache-2.0
#include "model/snat.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace lb::model {
namespace {

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }

AddressRange range(const char* first, const char* last) { return {ip(first), ip(last)}; }

SnatRule good() {
  SnatRule rule;
  rule.name = "out";
  rule.inside = {.address = ip("10.0.0.0"), .length = 24};
  EXPECT_TRUE(rule.add(range("192.0.2.1", "192.0.2.4")));
  return rule;
}

SnatFault fault(const std::function<void(SnatRule&)>& spoil) {
  auto rule = good();
  spoil(rule);
  return fault_of(rule);
}

TEST(AddressRange, CountsAndSteps) {
  EXPECT_EQ(range("192.0.2.1", "192.0.2.1").size(), 1U);
  EXPECT_EQ(range("192.0.1.255", "192.0.2.4").size(), 6U);
  EXPECT_EQ(range("0.0.0.0", "255.255.255.255").size(), UINT32_MAX);
  EXPECT_EQ(range("2001:db8::", "2001:db8::ffff").size(), 65536U);
  EXPECT_EQ(range("2001:db8::", "2001:db8:1::").size(), UINT32_MAX);
  EXPECT_EQ(range("2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::").size(), 2U);
  EXPECT_EQ(range("192.0.1.255", "192.0.2.4").at(2), ip("192.0.2.1"));
  EXPECT_EQ(range("2001:db8::ffff", "2001:db8::1:2").at(1), ip("2001:db8::1:0"));
  EXPECT_TRUE(range("192.0.2.1", "192.0.2.4").holds(ip("192.0.2.4")));
  EXPECT_FALSE(range("192.0.2.1", "192.0.2.4").holds(ip("192.0.2.5")));
  EXPECT_FALSE(range("0.0.0.0", "255.255.255.255").holds(ip("2001:db8::1")));
}

TEST(SnatRule, FindsFaults) {
  EXPECT_EQ(fault_of(good()), SnatFault::kNone);
  EXPECT_EQ(fault([](auto& r) { r.name = ""; }), SnatFault::kName);
  EXPECT_EQ(fault([](auto& r) { r.name = "a b"; }), SnatFault::kName);
  EXPECT_EQ(fault([](auto& r) { r.family = net::Family::kIpv6; }), SnatFault::kFamily);
  EXPECT_EQ(fault([](auto& r) { r.family = static_cast<net::Family>(3); }), SnatFault::kFamily);
  EXPECT_EQ(fault([](auto& r) { r.pool[0].last = ip("2001:db8::1"); }), SnatFault::kFamily);
  EXPECT_EQ(fault([](auto& r) { r.inside.length = 33; }), SnatFault::kInsidePrefix);
  EXPECT_EQ(fault([](auto& r) { r.inside.address = ip("10.0.0.1"); }), SnatFault::kInsidePrefix);
  EXPECT_EQ(fault([](auto& r) { r.inside.is_negated = true; }), SnatFault::kInsidePrefix);
  EXPECT_EQ(fault([](auto& r) { r.destination.address = ip("10.0.0.1"); }),
            SnatFault::kDestinationPrefix);
  EXPECT_EQ(fault([](auto& r) { r.protocol = 132; }), SnatFault::kProtocol);
  EXPECT_EQ(fault([](auto& r) { r.protocol = 58; }), SnatFault::kProtocol);
  EXPECT_EQ(fault([](auto& r) { r.protocol = 1; }), SnatFault::kNone);
  EXPECT_EQ(fault([](auto& r) { r.pool_count = 0; }), SnatFault::kNoPool);
  EXPECT_EQ(fault([](auto& r) { r.pool_count = 9; }), SnatFault::kNoPool);
  EXPECT_EQ(fault([](auto& r) { r.pool[0] = range("192.0.2.4", "192.0.2.1"); }),
            SnatFault::kPoolRange);
  EXPECT_EQ(fault([](auto& r) { r.pool[0].first = ip("0.0.0.0"); }), SnatFault::kPoolAddress);
  EXPECT_EQ(fault([](auto& r) { r.pool[0] = range("127.0.0.1", "127.0.0.1"); }),
            SnatFault::kPoolAddress);
  EXPECT_EQ(fault([](auto& r) { r.pool[0] = range("100.0.0.0", "100.1.0.0"); }),
            SnatFault::kPoolTooLarge);
  EXPECT_EQ(fault([](auto& r) { (void)r.add(range("192.0.2.4", "192.0.2.9")); }),
            SnatFault::kPoolOverlap);
  EXPECT_EQ(fault([](auto& r) { r.ports = {0, 80}; }), SnatFault::kPorts);
  EXPECT_EQ(fault([](auto& r) { r.ports = {81, 80}; }), SnatFault::kPorts);
  EXPECT_EQ(fault([](auto& r) { r.timeouts.udp = 0x7fffffff; }), SnatFault::kTimeout);
}

TEST(SnatRule, AStaticMappingIsPrefixToPrefix) {
  const auto is_static = [](const char* first, const char* last) {
    return fault([&](auto& r) {
      r.kind = SnatKind::kStatic;
      r.inside = {.address = ip("10.0.0.16"), .length = 30};
      r.pool[0] = range(first, last);
    });
  };
  EXPECT_EQ(is_static("192.0.2.4", "192.0.2.7"), SnatFault::kNone);
  EXPECT_EQ(is_static("192.0.2.4", "192.0.2.6"), SnatFault::kStaticSize);
  EXPECT_EQ(is_static("192.0.2.5", "192.0.2.8"), SnatFault::kStaticSize);
  EXPECT_EQ(is_static("10.0.0.16", "10.0.0.19"), SnatFault::kStaticSame);
  EXPECT_EQ(fault([](auto& r) {
              r.kind = SnatKind::kStatic;
              (void)r.add(range("192.0.2.9", "192.0.2.9"));
            }),
            SnatFault::kStaticRanges);
  EXPECT_EQ(fault([](auto& r) { r.kind = static_cast<SnatKind>(7); }), SnatFault::kStaticRanges);
}

TEST(SnatRule, EveryFaultHasAText) {
  for (int i = 0; i <= static_cast<int>(SnatFault::kTimeout); ++i) {
    EXPECT_NE(to_text(static_cast<SnatFault>(i)), "an unknown fault") << i;
  }
}

}  // namespace
}  // namespace lb::model
