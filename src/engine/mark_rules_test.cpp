// SPDX-License-Identifier: Apache-2.0
#include "engine/mark_rules.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cerrno>
#include <string>

#include "engine/allocation_counter.hpp"
#include "engine/testing/packet_builder.hpp"

namespace lb::engine {
namespace {

using model::MarkAction;
using model::MarkRule;
using model::PortMatch;
using model::PrefixMatch;
using test::ip;

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

net::Headers packet(std::string_view destination, unsigned port, unsigned source_port = 40000,
                    net::Protocol protocol = net::Protocol::kTcp) {
  net::Headers headers;
  headers.destination = ip(destination);
  headers.source = headers.destination.is_v4() ? ip("198.51.100.7") : ip("2001:db8:1::7");
  headers.protocol = protocol;
  headers.has_ports = true;
  headers.source_port = test::port_of(source_port);
  headers.destination_port = test::port_of(port);
  headers.end = 60;
  return headers;
}

PrefixMatch prefix(std::string_view address, unsigned length) {
  return {.address = ip(address), .length = static_cast<std::uint8_t>(length)};
}

PortMatch ports(std::initializer_list<model::PortRange> ranges) {
  PortMatch match;
  for (const auto& range : ranges) match.add(range);
  return match;
}

MarkRule marking(std::uint32_t value, std::uint32_t mask = 0xffffffff) {
  MarkRule rule;
  rule.value = value;
  rule.mask = mask;
  return rule;
}

MarkRule tcp_to(std::string_view address, std::uint16_t port, std::uint32_t value) {
  auto rule = marking(value);
  rule.destination = prefix(address, 32);
  rule.protocol = kTcp;
  rule.destination_ports = ports({{port, port}});
  return rule;
}

TEST(MarkRules, LaterRulesOverwriteUnderTheirMask) {
  MarkRules rules;
  ASSERT_TRUE(rules.insert(marking(0x0f0f)));
  ASSERT_TRUE(rules.insert(marking(0x10, 0xff)));
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 80), "eth0"), 0x0f10U);
  // --or-mark 1, --and-mark 0xff and --xor-mark 3, as iptables writes them.
  ASSERT_TRUE(rules.insert(marking(1, 1)));
  ASSERT_TRUE(rules.insert(marking(0, 0xffffff00)));
  ASSERT_TRUE(rules.insert(marking(3, 0)));
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 80), "eth0"), 0x12U);
}

TEST(MarkRules, ReturnEndsTheWay) {
  MarkRules rules;
  auto leave = tcp_to("192.0.2.10", 443, 0);
  leave.action = MarkAction::kReturn;
  ASSERT_TRUE(rules.insert(marking(1)));
  ASSERT_TRUE(rules.insert(leave));
  ASSERT_TRUE(rules.insert(marking(2)));
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 80), "eth0"), 2U);
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 443), "eth0"), 1U);
  EXPECT_EQ(rules.at(1).packets, 2U);
  EXPECT_EQ(rules.at(2).packets, 1U);
  EXPECT_EQ(rules.at(3).packets, 1U);
}

TEST(MarkRules, CountsPacketsAndBytesOnlyWhenApplied) {
  MarkRules rules;
  ASSERT_TRUE(rules.insert(tcp_to("192.0.2.10", 80, 7)));
  EXPECT_EQ(rules.evaluate(packet("192.0.2.10", 80), "eth0"), 7U);
  EXPECT_EQ(rules.at(1).packets, 0U);
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 80), "eth0"), 7U);
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 81), "eth0"), 0U);
  EXPECT_EQ(rules.at(1).packets, 1U);
  EXPECT_EQ(rules.at(1).bytes, 60U);
  rules.zero();
  EXPECT_EQ(rules.at(1), model::MarkRuleInfo{.rule = tcp_to("192.0.2.10", 80, 7)});
}

TEST(MarkRules, PacketsWithoutPortsMatchNoPorts) {
  MarkRules rules;
  auto rule = marking(5);
  rule.protocol = kUdp;
  rule.destination_ports = ports({{53, 53}});
  rule.destination_ports.is_negated = true;
  ASSERT_TRUE(rules.insert(rule));
  auto headers = packet("192.0.2.10", 80, 40000, net::Protocol::kUdp);
  EXPECT_EQ(rules.apply(headers, "eth0"), 5U);
  headers.has_ports = false;
  EXPECT_EQ(rules.apply(headers, "eth0"), 0U);
}

TEST(MarkRules, InterfacesByNameAndByPattern) {
  MarkRules rules;
  auto rule = marking(1);
  rule.interface = "eth+";
  ASSERT_TRUE(rules.insert(rule));
  rule = marking(2, 2);
  rule.interface = "eth1";
  rule.is_interface_negated = true;
  ASSERT_TRUE(rules.insert(rule));
  const auto headers = packet("192.0.2.10", 80);
  EXPECT_EQ(rules.apply(headers, "eth0"), 3U);
  EXPECT_EQ(rules.apply(headers, "eth1"), 1U);
  EXPECT_EQ(rules.apply(headers, "wan"), 2U);
  EXPECT_EQ(rules.apply(headers, ""), 2U);
}

TEST(MarkRules, PortsThatOverlapCountOnce) {
  MarkRules rules;
  auto rule = tcp_to("192.0.2.10", 80, 3);
  rule.mask = 0;  // exclusive or: twice would be none
  rule.destination_ports = ports({{80, 80}, {1, 1000}, {80, 90}});
  ASSERT_TRUE(rules.insert(rule));
  EXPECT_EQ(rules.apply(packet("192.0.2.10", 80), "eth0"), 3U);
  EXPECT_EQ(rules.at(1).packets, 1U);
}

TEST(MarkRules, InsertEraseAndFindByPosition) {
  MarkRules rules;
  for (const std::uint32_t value : {1U, 3U}) ASSERT_TRUE(rules.insert(marking(value)));
  ASSERT_TRUE(rules.insert(marking(2), 2));
  ASSERT_TRUE(rules.insert(marking(4), 4));
  for (std::uint32_t position = 1; position <= 4; ++position) {
    EXPECT_EQ(rules.at(position).rule.value, position);
    EXPECT_EQ(rules.find(marking(position)), position);
  }
  EXPECT_EQ(rules.evaluate(packet("192.0.2.10", 80), ""), 4U);
  ASSERT_TRUE(rules.erase(4));
  ASSERT_TRUE(rules.erase(1));
  EXPECT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules.at(1).rule.value, 2U);
  EXPECT_EQ(rules.evaluate(packet("192.0.2.10", 80), ""), 3U);
  EXPECT_EQ(rules.find(marking(4)), std::nullopt);
}

TEST(MarkRules, RefusesWhatMakesNoSense) {
  MarkRules rules;
  EXPECT_EQ(rules.insert(marking(1), 2).error().code, E2BIG);
  EXPECT_EQ(rules.erase(1).error().code, E2BIG);
  EXPECT_EQ(rules.erase(0).error().code, E2BIG);
  auto rule = marking(1);
  rule.destination_ports = ports({{80, 80}});
  EXPECT_EQ(rules.insert(rule).error().code, EINVAL);  // ports of which protocol?
  rule = marking(1);
  rule.destination = prefix("2001:db8::", 32);
  EXPECT_EQ(rules.insert(rule).error().code, EINVAL);
  rule.family = net::Family::kIpv6;
  EXPECT_EQ(rules.insert(rule).error().code, EINVAL);  // the source is IPv4's still
  rule.source = MarkRule::any(net::Family::kIpv6);
  EXPECT_TRUE(rules.insert(rule));
  rule.destination.length = 8;  // bits beyond the prefix
  EXPECT_EQ(rules.insert(rule).error().code, EINVAL);
  rule.destination.length = 129;
  EXPECT_EQ(rules.insert(rule).error().code, EINVAL);
}

TEST(MarkRules, AreBounded) {
  MarkRules rules;
  for (std::uint32_t i = 0; i < MarkRules::kMaxRules; ++i) {
    auto rule = marking(i);
    rule.destination = {.address = net::IpAddress::v4(net::Be32::from_host(i)), .length = 32};
    ASSERT_TRUE(rules.insert(rule));
  }
  EXPECT_EQ(rules.insert(marking(1)).error().code, ENOSPC);
  EXPECT_EQ(rules.evaluate(packet("0.0.99.99", 80), "eth0"), 99U * 256 + 99);
}

TEST(MarkRules, PacketsAllocateNothing) {
  MarkRules rules;
  for (std::uint16_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(rules.insert(tcp_to("192.0.2.10", i, i)));
    ASSERT_TRUE(rules.insert(marking(i)));
  }
  const auto headers = packet("192.0.2.10", 80);
  const lb::test::AllocationCounter counter;
  EXPECT_EQ(rules.apply(headers, "eth0"), 999U);
  EXPECT_EQ(counter.count(), 0U);
}

// The specification, as plainly as possible: every rule, one after the other, bit by bit.
bool naive_prefix(const PrefixMatch& match, const net::IpAddress& address) {
  bool is_same = true;
  for (unsigned bit = 0; bit < match.length; ++bit) {
    const auto byte = [&](const net::IpAddress& of) {
      return (of.bytes()[bit / 8] >> (7 - bit % 8)) & 1;
    };
    is_same = is_same && byte(match.address) == byte(address);
  }
  return is_same != match.is_negated;
}

bool naive_ports(const PortMatch& match, std::initializer_list<net::Port> ports) {
  bool is_inside = false;
  for (std::size_t i = 0; i < match.count; ++i) {
    for (const auto port : ports) {
      is_inside = is_inside || (port.to_host() >= match.ranges[i].first &&
                                port.to_host() <= match.ranges[i].last);
    }
  }
  return match.count == 0 || is_inside != match.is_negated;
}

bool naive_match(const MarkRule& rule, const net::Headers& headers, const std::string& ingress) {
  if (rule.family != headers.source.family()) return false;
  if (rule.protocol != 0 &&
      (rule.protocol == static_cast<int>(headers.protocol)) == rule.is_protocol_negated) {
    return false;
  }
  if (!rule.interface.empty() && (rule.interface.view() == ingress) == rule.is_interface_negated) {
    return false;
  }
  const bool asks_ports =
      rule.source_ports.count + rule.destination_ports.count + rule.either_port.count != 0;
  if (asks_ports && !headers.has_ports) return false;
  return naive_prefix(rule.source, headers.source) &&
         naive_prefix(rule.destination, headers.destination) &&
         naive_ports(rule.source_ports, {headers.source_port}) &&
         naive_ports(rule.destination_ports, {headers.destination_port}) &&
         naive_ports(rule.either_port, {headers.source_port, headers.destination_port});
}

std::uint32_t naive_mark(const std::vector<MarkRule>& rules, const net::Headers& headers,
                         const std::string& ingress) {
  std::uint32_t mark = 0;
  for (const auto& rule : rules) {
    if (!naive_match(rule, headers, ingress)) continue;
    if (rule.action == MarkAction::kReturn) break;
    mark = (mark & ~rule.mask) ^ rule.value;
  }
  return mark;
}

// Few different values, so that rules and packets meet.
net::IpAddress any_address(net::Family family) {
  const auto low = *rc::gen::inRange<unsigned>(0, 4);
  const auto high = *rc::gen::inRange<unsigned>(0, 3);
  if (family == net::Family::kIpv4) {
    return net::IpAddress::v4(net::Be32::from_host(0xc0000200U + high * 64 + low));
  }
  auto bytes = ip("2001:db8::").bytes();
  bytes[7] = static_cast<std::uint8_t>(high);
  bytes[15] = static_cast<std::uint8_t>(low);
  return net::IpAddress::v6(bytes);
}

PrefixMatch any_prefix(net::Family family) {
  const auto length = static_cast<std::uint8_t>(
      *(family == net::Family::kIpv4 ? rc::gen::element(0, 1, 24, 25, 26, 31, 32)
                                     : rc::gen::element(0, 16, 62, 63, 64, 126, 127, 128)));
  return {.address = any_address(family).prefix(length),
          .length = length,
          .is_negated = *rc::gen::weightedElement<bool>({{5, false}, {1, true}})};
}

std::uint16_t any_port() {
  return *rc::gen::weightedOneOf<std::uint16_t>({{6, rc::gen::inRange<std::uint16_t>(0, 9)},
                                                 {1, rc::gen::element<std::uint16_t>(65534, 65535)},
                                                 {1, rc::gen::arbitrary<std::uint16_t>()}});
}

PortMatch any_ports() {
  PortMatch match;
  for (auto left = *rc::gen::inRange(0, 4); left > 0; --left) {
    const auto first = any_port();
    const auto last = *rc::gen::weightedElement<bool>({{2, true}, {1, false}}) ? first : any_port();
    match.add({std::min(first, last), std::max(first, last)});
  }
  match.is_negated = match.count != 0 && *rc::gen::weightedElement<bool>({{4, false}, {1, true}});
  return match;
}

MarkRule any_rule() {
  MarkRule rule;
  rule.family = *rc::gen::element(net::Family::kIpv4, net::Family::kIpv6);
  rule.source = any_prefix(rule.family);
  rule.destination = any_prefix(rule.family);
  rule.protocol = *rc::gen::element<std::uint8_t>(0, 6, 17, 132, 50);
  if (model::has_ports(rule.protocol)) {
    rule.destination_ports = any_ports();
    if (*rc::gen::inRange(0, 4) == 0) rule.source_ports = any_ports();
    if (*rc::gen::inRange(0, 4) == 0) rule.either_port = any_ports();
  }
  rule.is_protocol_negated =
      rule.protocol != 0 && !rule.needs_ports() && *rc::gen::arbitrary<bool>();
  rule.interface = *rc::gen::weightedElement<const char*>({{3, ""}, {1, "eth0"}, {1, "eth1"}});
  rule.is_interface_negated = !rule.interface.empty() && *rc::gen::arbitrary<bool>();
  rule.action =
      *rc::gen::weightedElement<MarkAction>({{8, MarkAction::kMark}, {1, MarkAction::kReturn}});
  rule.value = *rc::gen::arbitrary<std::uint32_t>();
  rule.mask = *rc::gen::element<std::uint32_t>(0xffffffff, 0xff, 0xff00, 0);
  return rule;
}

net::Headers any_packet() {
  const auto family = *rc::gen::element(net::Family::kIpv4, net::Family::kIpv6);
  net::Headers headers;
  headers.source = any_address(family);
  headers.destination = any_address(family);
  headers.protocol = *rc::gen::element(net::Protocol::kTcp, net::Protocol::kUdp,
                                       net::Protocol::kSctp, net::Protocol::kEsp);
  headers.has_ports = headers.protocol != net::Protocol::kEsp && *rc::gen::inRange(0, 8) != 0;
  if (headers.has_ports) {
    headers.source_port = net::Port::from_host(any_port());
    headers.destination_port = net::Port::from_host(any_port());
  }
  headers.end = 60;
  return headers;
}

RC_GTEST_PROP(MarkRules, GiveTheMarkOfALinearWalk, ()) {
  MarkRules rules;
  std::vector<MarkRule> model;
  for (auto left = *rc::gen::inRange(1, 60); left > 0; --left) {
    const auto size = static_cast<std::uint32_t>(model.size());
    if (size != 0 && *rc::gen::inRange(0, 4) == 0) {
      const auto position = *rc::gen::inRange(1U, size + 1);
      RC_ASSERT(rules.erase(position).has_value());
      model.erase(model.begin() + static_cast<std::ptrdiff_t>(position - 1));
    } else {
      const auto position = *rc::gen::inRange(1U, size + 2);
      const auto rule = any_rule();
      RC_ASSERT(rules.insert(rule, position).has_value());
      model.insert(model.begin() + static_cast<std::ptrdiff_t>(position - 1), rule);
    }
  }
  for (int i = 0; i < 30; ++i) {
    const auto headers = any_packet();
    const std::string ingress = *rc::gen::element("eth0", "eth1", "");
    RC_ASSERT(rules.evaluate(headers, ingress) == naive_mark(model, headers, ingress));
    RC_ASSERT(rules.apply(headers, ingress) == naive_mark(model, headers, ingress));
  }
  for (std::uint32_t position = 1; position <= model.size(); ++position) {
    RC_ASSERT(rules.at(position).rule == model[position - 1]);
  }
}

}  // namespace
}  // namespace lb::engine
