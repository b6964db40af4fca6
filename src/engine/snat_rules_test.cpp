// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_rules.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "engine/snat.hpp"
#include "engine/testing/kept_memory.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;
using model::SnatConflictKind;
using model::SnatKind;
using model::SnatRule;

model::PrefixMatch prefix(std::string_view address, unsigned length) {
  return {.address = ip(std::string(address)), .length = static_cast<std::uint8_t>(length)};
}

SnatRule rule(std::string_view name, const model::PrefixMatch& inside,
              std::string_view pool = "192.0.2.20") {
  SnatRule made;
  made.name = name;
  made.family = inside.address.family();
  made.inside = inside;
  made.destination = model::MarkRule::any(made.family);
  const auto address = ip(std::string(pool));
  (void)made.add({address, address});
  return made;
}

std::string matched(const SnatRules& rules, SnatRules::Wanted wanted) {
  const auto* entry = rules.match(wanted);
  return entry == nullptr ? "" : std::string(entry->rule.name.view());
}

TEST(SnatRules, TheMostSpecificRuleIsTaken) {
  SnatRules rules;
  auto to_net = rule("to-net", prefix("10.0.0.0", 8));
  to_net.destination = prefix("198.51.100.0", 24);
  auto only_udp = rule("udp", prefix("10.0.0.0", 8));
  only_udp.protocol = 17;
  auto by_eth1 = rule("eth1", prefix("10.0.0.0", 8));
  by_eth1.interface = "eth1";
  for (const auto& each : {rule("all", prefix("10.0.0.0", 8)), by_eth1, only_udp, to_net,
                           rule("host", prefix("10.1.2.3", 32)),
                           rule("v6", prefix("2001:db8:3::", 48), "2001:db8:2::20")}) {
    ASSERT_FALSE(rules.conflict(each));
    ASSERT_NE(rules.insert(each), nullptr);
  }
  SnatRules::Wanted wanted{.inside = ip("10.9.9.9"),
                           .destination = ip("203.0.113.5"),
                           .protocol = net::Protocol::kTcp,
                           .inside_port = 4000,
                           .interface = "eth0"};
  EXPECT_EQ(matched(rules, wanted), "all");
  wanted.interface = "eth1";
  EXPECT_EQ(matched(rules, wanted), "eth1");
  wanted.protocol = net::Protocol::kUdp;
  EXPECT_EQ(matched(rules, wanted), "udp");
  wanted.destination = ip("198.51.100.5");
  EXPECT_EQ(matched(rules, wanted), "to-net");
  wanted.inside = ip("10.1.2.3");
  EXPECT_EQ(matched(rules, wanted), "host");
  wanted.inside = ip("11.0.0.1");
  EXPECT_EQ(matched(rules, wanted), "");
  wanted.inside = ip("2001:db8:3::5");
  wanted.destination = ip("2001:db8:1::7");
  EXPECT_EQ(matched(rules, wanted), "v6");
  EXPECT_TRUE(rules.has(net::Family::kIpv6));
  ASSERT_NE(rules.extract(*rules.find("v6")), nullptr);
  EXPECT_FALSE(rules.has(net::Family::kIpv6));
  EXPECT_EQ(matched(rules, wanted), "");
}

TEST(SnatRules, RulesThatGetInEachOthersWayAreTold) {
  SnatRules rules;
  ASSERT_NE(rules.insert(rule("one", prefix("10.0.0.0", 8))), nullptr);
  auto conflict = rules.conflict(rule("one", prefix("10.1.0.0", 16)));
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->kind, SnatConflictKind::kName);
  conflict = rules.conflict(rule("two", prefix("10.0.0.0", 8), "192.0.2.30"));
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->kind, SnatConflictKind::kSelector);
  EXPECT_EQ(conflict->other, model::Name("one"));
  // Another prefix may use the same pool.
  EXPECT_FALSE(rules.conflict(rule("two", prefix("10.1.0.0", 16))));
  // A static mapping has its address for itself, or at least its ports.
  auto fixed = rule("fixed", prefix("10.0.0.5", 32));
  fixed.kind = SnatKind::kStatic;
  conflict = rules.conflict(fixed);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->kind, SnatConflictKind::kAddress);
  EXPECT_EQ(conflict->address, ip("192.0.2.20"));
  fixed.ports = {80, 80};
  fixed.protocol = 6;
  EXPECT_FALSE(rules.conflict(fixed));
  ASSERT_NE(rules.insert(fixed), nullptr);
  auto other = fixed;
  other.name = "other";
  other.inside = prefix("10.0.0.6", 32);
  EXPECT_TRUE(rules.conflict(other));
  other.ports = {81, 90};
  EXPECT_FALSE(rules.conflict(other));
}

TEST(SnatRules, StaticMappingsAreFoundFromBothSides) {
  SnatRules rules;
  auto net = rule("net", prefix("10.0.0.16", 30), "192.0.2.32");
  net.kind = SnatKind::kStatic;
  net.pool[0].last = ip("192.0.2.35");
  auto web = rule("web", prefix("10.0.0.5", 32), "192.0.2.20");
  web.kind = SnatKind::kStatic;
  web.protocol = 6;
  web.ports = {80, 80};
  ASSERT_NE(rules.insert(net), nullptr);
  ASSERT_NE(rules.insert(web), nullptr);
  const auto* found = rules.match_static(net::Protocol::kUdp, ip("192.0.2.34"), 53);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->inside_of(ip("192.0.2.34")), ip("10.0.0.18"));
  EXPECT_EQ(found->outside_of(ip("10.0.0.18"), 99), ip("192.0.2.34"));
  EXPECT_EQ(rules.match_static(net::Protocol::kTcp, ip("192.0.2.20"), 81), nullptr);
  ASSERT_NE(rules.match_static(net::Protocol::kTcp, ip("192.0.2.20"), 80), nullptr);
  EXPECT_TRUE(rules.is_outside(ip("192.0.2.35")));
  EXPECT_FALSE(rules.is_outside(ip("192.0.2.36")));
  EXPECT_FALSE(rules.is_outside(ip("192.0.2.21")));
  EXPECT_FALSE(rules.is_outside(ip("2001:db8::1")));
}

TEST(SnatRules, APoolIsUsedEvenly) {
  SnatRules rules;
  auto pool = rule("pool", prefix("10.0.0.0", 8), "192.0.2.20");
  (void)pool.add({ip("192.0.2.30"), ip("192.0.2.32")});
  auto* entry = rules.insert(pool);
  EXPECT_EQ(entry->pool_size, 4U);
  EXPECT_EQ(entry->outside_of(ip("10.0.0.1"), 4), ip("192.0.2.20"));
  EXPECT_EQ(entry->outside_of(ip("10.0.0.1"), 5), ip("192.0.2.30"));
  EXPECT_EQ(entry->outside_of(ip("10.0.0.1"), 7), ip("192.0.2.32"));
}

TEST(DirectorSnat, AddsListsAndDeletesRules) {
  Lab lab;
  auto faulty = rule("bad", prefix("10.0.0.0", 8));
  faulty.pool_count = 0;
  EXPECT_EQ(add_snat_rule(lab.director, faulty).error().code, EINVAL);
  ASSERT_TRUE(add_snat_rule(lab.director, rule("b", prefix("10.0.0.0", 8))));
  ASSERT_TRUE(add_snat_rule(lab.director, rule("a", prefix("10.1.0.0", 16))));
  EXPECT_EQ(add_snat_rule(lab.director, rule("a", prefix("10.2.0.0", 16))).error().code, EEXIST);
  ASSERT_TRUE(snat_conflict(lab.director, rule("c", prefix("10.1.0.0", 16))));
  EXPECT_EQ(snat_rule_count(lab.director), 2U);
  const auto all = snat_rules(lab.director);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].rule.name, model::Name("a"));
  EXPECT_EQ(all[1].rule, rule("b", prefix("10.0.0.0", 8)));
  EXPECT_FALSE(all[0].last_refused);
  EXPECT_TRUE(zero_snat_rule(lab.director, "a"));
  EXPECT_EQ(zero_snat_rule(lab.director, "c").error().code, ENOENT);
  EXPECT_TRUE(delete_snat_rule(lab.director, "a"));
  EXPECT_EQ(delete_snat_rule(lab.director, "a").error().code, ENOENT);
  EXPECT_FALSE(snat_rule(lab.director, "a"));
  flush_snat_rules(lab.director);
  EXPECT_EQ(snat_rule_count(lab.director), 0U);
  // The accounts of rules are no services.
  EXPECT_EQ(lab.director.service_count(), 0U);
}

TEST(DirectorSnat, TheNumberOfRulesIsBounded) {
  Lab lab;
  const auto nth = [](std::size_t n) {
    auto made = rule("r" + std::to_string(n), prefix("10.0.0.0", 32));
    made.inside.address =
        net::IpAddress::v4(net::Be32::from_host(static_cast<std::uint32_t>(0x0a000000U + n)));
    return made;
  };
  for (std::size_t n = 0; n < kMaxSnatRules; ++n) ASSERT_TRUE(add_snat_rule(lab.director, nth(n)));
  EXPECT_EQ(add_snat_rule(lab.director, nth(kMaxSnatRules)).error().code, ENOSPC);
  EXPECT_TRUE(delete_snat_rule(lab.director, "r7"));
  EXPECT_TRUE(add_snat_rule(lab.director, nth(kMaxSnatRules)));
}

TEST(DirectorSnat, RulesOutliveTheProcess) {
  KeptMemory kept(64);
  auto options = small_options();
  options.memory = kept.memory();
  const auto made = rule("kept", prefix("10.0.0.0", 8));
  {
    Lab lab(options);
    lab.director.begin_saving();
    ASSERT_TRUE(add_snat_rule(lab.director, made));
    ASSERT_TRUE(add_snat_rule(lab.director, rule("gone", prefix("10.1.0.0", 16))));
    ASSERT_TRUE(delete_snat_rule(lab.director, "gone"));
  }
  Lab next(options);
  ASSERT_TRUE(next.director.can_adopt());
  (void)next.director.adopt(next.now);
  const auto all = snat_rules(next.director);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].rule, made);
}

}  // namespace
}  // namespace lb::engine
