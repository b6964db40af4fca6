// SPDX-License-Identifier: Apache-2.0
#include "cli/director_state.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <string>

#include "cli/collecting_transport.hpp"
#include "cli/difference.hpp"
#include "cli/mark_text.hpp"
#include "cli/test_director.hpp"
#include "wire/arbitrary.hpp"

namespace lb::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

model::ServiceSpec arbitrary_service() {
  model::ServiceSpec spec;
  auto& key = spec.key;
  if (*rc::gen::inRange(0, 3) == 0) {
    key.fwmark = *rc::gen::inRange<std::uint32_t>(1, UINT32_MAX);
    if (*rc::gen::arbitrary<bool>()) key.family = net::Family::kIpv6;
    key.address = net::IpAddress::any(key.family);
  } else {
    key.address = *rc::gen::arbitrary<net::IpAddress>();
    key.family = key.address.family();
    key.port = *rc::gen::arbitrary<net::Port>();
    key.protocol =
        *rc::gen::element(net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp);
  }
  spec.scheduler = *rc::gen::element("rr", "wlc", "sh", "mh", "none");
  spec.flags = *rc::gen::inRange<std::uint32_t>(0, 64);
  spec.timeout = *rc::gen::inRange<std::uint32_t>(1, 100000);
  spec.netmask = key.family == net::Family::kIpv6
                     ? *rc::gen::inRange<std::uint32_t>(1, 129)
                     : net::Be32::from_host(~0U << *rc::gen::inRange(0U, 32U)).to_network();
  if (*rc::gen::arbitrary<bool>()) spec.persistence_engine = "sip";
  return normalized(spec);
}

model::DestinationSpec arbitrary_server(const model::ServiceKey& key) {
  model::DestinationSpec spec;
  do {
    spec.address = *rc::gen::arbitrary<net::IpAddress>();
  } while (spec.address.family() != key.family);
  spec.method =
      *rc::gen::element(model::ForwardingMethod::kMasquerade, model::ForwardingMethod::kDirectRoute,
                        model::ForwardingMethod::kTunnel);
  spec.port = spec.method == model::ForwardingMethod::kMasquerade || key.fwmark != 0
                  ? *rc::gen::arbitrary<net::Port>()
                  : key.port;
  spec.weight = *rc::gen::inRange(0, 1000);
  spec.upper_threshold = *rc::gen::inRange<std::uint32_t>(0, 100);
  spec.lower_threshold = *rc::gen::inRange<std::uint32_t>(0, 10);
  spec.tunnel.type = static_cast<model::TunnelType>(*rc::gen::inRange(0, 3));
  spec.tunnel.port = net::Port::from_host(*rc::gen::inRange<std::uint16_t>(1, 65535));
  spec.tunnel.flags = *rc::gen::inRange<std::uint16_t>(0, 3);
  return normalized(spec);
}

model::ServiceOptions arbitrary_options() {
  model::ServiceOptions options;
  if (*rc::gen::arbitrary<bool>()) options.drain = *rc::gen::inRange(-1, 1000);
  if (*rc::gen::arbitrary<bool>()) {
    options.drain_end = static_cast<model::DrainEnd>(*rc::gen::inRange(0, 3));
  }
  if (*rc::gen::arbitrary<bool>()) options.reuse_ports = *rc::gen::arbitrary<bool>();
  options.timeouts.tcp_fin = *rc::gen::inRange<std::uint32_t>(0, 1000);
  return options;
}

DirectorState arbitrary_state() {
  DirectorState state;
  std::set<model::ServiceKey> keys;
  const auto services = *rc::gen::inRange(0, 5);
  for (int i = 0; i < services; ++i) {
    ServiceState service{
        .spec = arbitrary_service(), .options = arbitrary_options(), .servers = {}};
    if (!keys.insert(service.spec.key).second) continue;
    std::set<std::pair<net::IpAddress, std::uint16_t>> ends;
    const auto servers = *rc::gen::inRange(0, 4);
    for (int n = 0; n < servers; ++n) {
      const auto spec = arbitrary_server(service.spec.key);
      if (ends.insert({spec.address, spec.port.to_host()}).second) {
        service.servers.push_back({.spec = spec});
      }
    }
    state.services.push_back(std::move(service));
  }
  if (*rc::gen::arbitrary<bool>()) {
    state.mark_rules.emplace();
    const auto rules = *rc::gen::inRange(0, 3);
    for (int i = 0; i < rules; ++i) {
      const auto rule = *rc::gen::arbitrary<model::MarkRule>();
      if (!model::is_valid(rule)) continue;
      // As an administrator can write it: `-j RETURN' has no value, a name no control characters.
      const auto written = parse_mark_rule(*split_words(mark_rule_text(rule)));
      if (written) state.mark_rules->push_back(*written);
    }
  }
  if (*rc::gen::arbitrary<bool>()) {
    auto& rules = state.snat_rules.emplace();
    std::set<std::string> names;
    const auto count = *rc::gen::inRange(0, 3);
    for (int i = 0; i < count; ++i) {
      rules.push_back(*rc::gen::arbitrary<model::SnatRule>());
      rules.back().interface = "eth0";
      if (!names.emplace(rules.back().name.view()).second) rules.pop_back();
    }
  }
  state.timeouts.tcp = *rc::gen::inRange<std::uint32_t>(0, 1000);
  state.settings = {{.name = "net.ipv4.vs.sync_threshold", .value = "3\t50"},
                    {.name = "sluice.drain", .value = "-1"}};
  return state;
}

RC_GTEST_PROP(DirectorStateFile, WhatIsWrittenIsReadAgain, ()) {
  const auto state = arbitrary_state();
  const auto text = state_text(state);
  const auto read = parse_state(text, "file");
  if (!read) RC_FAIL(read.error() + "\n" + text);
  if (!(*read == state)) RC_FAIL(text + "\nis read as\n\n" + state_text(*read));
}

// An equal state asks for nothing; a different one for something.
RC_GTEST_PROP(DirectorStateFile, Difference, ()) {
  TestDirector director;
  const auto send = [&](const DirectorState& running, const DirectorState& wanted) {
    CollectingTransport collector(director);
    IpvsClient client(collector);
    RC_ASSERT(client.open().has_value());
    const auto changes = send_difference(running, wanted, client);
    RC_ASSERT(changes.size() == collector.requests().size());
    return changes.size();
  };
  const auto one = arbitrary_state();
  RC_ASSERT(send(one, one) == 0U);
  auto other = one;
  other.services.push_back({.spec = arbitrary_service(), .options = {}, .servers = {}});
  RC_PRE(std::none_of(one.services.begin(), one.services.end(), [&](const auto& service) {
    return service.spec.key == other.services.back().spec.key;
  }));
  RC_ASSERT(send(one, other) == 1U);
  RC_ASSERT(send(other, one) == 1U);
  RC_ASSERT(send({}, one) >= one.services.size());
}

std::string error_of(std::string_view text) {
  const auto read = parse_state(text, "f");
  return read ? "none" : read.error();
}

TEST(DirectorStateFile, ErrorsNamePlaceKeyAndReason) {
  EXPECT_THAT(error_of("[[service]]\ntcp = \"192.0.2.1:80\"\ncolour = 1\n"),
              HasSubstr("f:3:1: colour: unknown key"));
  EXPECT_THAT(error_of("[[service]]\nscheduler = \"rr\"\n"),
              HasSubstr("f:1:1: service: needs one"));
  EXPECT_THAT(error_of("[[service]]\ntcp = \"192.0.2.1:80\"\npersistent = \"long\"\n"),
              HasSubstr("f:3:14: persistent: must be an integer"));
  EXPECT_THAT(error_of("[[service]]\ntcp = \"www:80\"\n"), HasSubstr("f:2:7: tcp: `www:80' is no"));
  EXPECT_THAT(error_of("[[service]]\nfwmark = 1\n[[service.server]]\nweight = 1\n"),
              HasSubstr("f:3:1: server: needs an address"));
  EXPECT_THAT(error_of("[[service]]\nfwmark = 1\n[[service]]\nfwmark = 1\n"),
              HasSubstr("stands here twice"));
  EXPECT_THAT(error_of("service = 3\n"), HasSubstr("f:1:11: service: must be an array"));
  EXPECT_THAT(error_of("a = \n"), HasSubstr("f:1:"));
  EXPECT_THAT(error_of("mark_rules = [\"-j DANCE\"]\n"), HasSubstr("f:1:15: mark_rules: "));
  EXPECT_THAT(error_of("snat_rules = [\"a --inside 10.0.0.0/8\"]\n"),
              HasSubstr("f:1:15: snat_rules: which addresses do hosts get?"));
  EXPECT_THAT(error_of("snat_rules = [\"a --pool 192.0.2.1\", \"a --pool 192.0.2.2\"]\n"),
              HasSubstr("f:1:37: snat_rules: a rule of this name stands here twice"));
  EXPECT_THAT(error_of("[timeouts]\nicmp = 3\n"), HasSubstr("f:2:1: icmp: unknown key"));
  EXPECT_THAT(error_of("[[service]]\ntcp = \"192.0.2.1:80\"\n[[service.server]]\n"
                       "address = \"10.0.0.1:81\"\n"),
              HasSubstr("f:4:11: address: only masquerading changes the port"));
}

TEST(DirectorStateFile, SnatRulesThatChangeGoBeforeOthersCome) {
  const auto state = [](std::string_view rules) {
    return *parse_state("snat_rules = [" + std::string(rules) + "]\n", "f");
  };
  TestDirector director;
  CollectingTransport collector(director);
  IpvsClient client(collector);
  ASSERT_TRUE(client.open().has_value());
  const auto running = state("\"a --pool 192.0.2.1\", \"b -s 10.0.0.0/8 --pool 192.0.2.2\"");
  const auto wanted = state("\"c --pool 192.0.2.1\",\n \"b -s 10.0.0.0/8 --pool 192.0.2.2\"");
  const auto changes = send_difference(running, wanted, client);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].text, "- snat add a --pool 192.0.2.1\n");
  EXPECT_EQ(changes[1].text, "+ snat add c --pool 192.0.2.1\n");
  EXPECT_EQ(changes[1].place.line, 1U);
  // A file that does not name them leaves them alone.
  EXPECT_TRUE(send_difference(running, *parse_state("", "f"), client).empty());
}

TEST(DirectorStateFile, ServersTakeThePortOfTheirService) {
  const auto read = parse_state(
      "[[service]]\nudp = \"[2001:db8::1]:53\"\n[[service.server]]\naddress = \"2001:db8::2\"\n",
      "f");
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->services.at(0).servers.at(0).spec.port.to_host(), 53);
  EXPECT_EQ(read->services.at(0).spec.scheduler, model::Name("wlc"));
}

}  // namespace
}  // namespace lb::cli
