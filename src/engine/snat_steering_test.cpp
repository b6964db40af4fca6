// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_steering.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

/// What the longest prefix that holds `address` says, as XDP looks it up.
SnatPrefix looked_up(const std::vector<SnatPrefix>& all, const net::IpAddress& address) {
  SnatPrefix best;
  int longest = -1;
  for (const auto& prefix : all) {
    if (prefix.address.family() != address.family() || prefix.length <= longest) continue;
    if (address.prefix(prefix.length) != prefix.address) continue;
    longest = prefix.length;
    best = prefix;
  }
  return best;
}

net::IpAddress near(std::uint32_t offset) {
  return net::IpAddress::v4(net::Be32::from_host(0xc0000200U + offset));
}

model::SnatRule rule(unsigned number, const net::IpAddress& inside, unsigned length,
                     const model::AddressRange& range) {
  model::SnatRule made;
  made.name = std::string_view("r" + std::to_string(number));
  made.inside = {.address = inside.prefix(length), .length = static_cast<std::uint8_t>(length)};
  (void)made.add(range);
  return made;
}

TEST(SnatSteering, WithoutRulesThereIsNothing) {
  Lab lab;
  EXPECT_TRUE(snat_prefixes(SnatRules(), lab.network).empty());
}

TEST(SnatSteering, OwnAddressesAreKnownWithinPrefixes) {
  Lab lab;
  SnatRules rules;
  rules.insert(rule(1, ip("10.0.0.0"), 8, {ip("192.0.2.11"), ip("192.0.2.11")}));
  const auto all = snat_prefixes(rules, lab.network);
  EXPECT_TRUE(looked_up(all, ip("10.9.9.9")).is_inside);
  EXPECT_FALSE(looked_up(all, ip("10.9.9.9")).is_own);
  EXPECT_TRUE(looked_up(all, ip("10.0.0.1")).is_inside);
  EXPECT_TRUE(looked_up(all, ip("10.0.0.1")).is_own);
  const auto pool = looked_up(all, ip("192.0.2.11"));
  EXPECT_TRUE(pool.is_outside && pool.is_own);
  EXPECT_EQ(pool.ports, (model::PortRange{model::SnatRule::kFirstPort, 65535}));
}

/// The longest prefix says of every address what the rules say of it.
RC_GTEST_PROP(SnatSteering, SaysWhatTheRulesSay, ()) {
  const NetworkView network;
  SnatRules rules;
  std::vector<model::SnatRule> made;
  const auto count = *rc::gen::inRange(1U, 6U);
  for (unsigned n = 0; n < count; ++n) {
    const auto first = *rc::gen::inRange(0U, 200U);
    const auto size = *rc::gen::inRange(1U, 40U);
    const auto length = *rc::gen::inRange(20U, 33U);
    const auto inside = near(*rc::gen::inRange(0U, 256U));
    const auto each = rule(n, inside, length, {near(first), near(first + size - 1)});
    if (rules.conflict(each)) continue;
    made.push_back(each);
    RC_ASSERT(rules.insert(each) != nullptr);
  }
  const auto all = snat_prefixes(rules, network);
  for (std::uint32_t offset = 0; offset < 256; ++offset) {
    const auto address = near(offset);
    bool is_inside = false;
    bool is_outside = false;
    for (const auto& each : made) {
      is_inside |= address.prefix(each.inside.length) == each.inside.address;
      is_outside |= each.pool[0].holds(address);
    }
    const auto said = looked_up(all, address);
    RC_ASSERT(said.is_inside == is_inside);
    RC_ASSERT(said.is_outside == is_outside);
    RC_ASSERT(rules.is_outside(address) == is_outside);
  }
}

}  // namespace
}  // namespace lb::engine
