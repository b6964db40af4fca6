// SPDX-License-Identifier: Apache-2.0
#include "realserver/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "realserver/wire_check.hpp"

namespace lb::realserver {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

net::IpAddress ip(const char* text) { return *net::IpAddress::from_text(text); }
net::Mac mac(const char* text) { return *net::Mac::from_text(text); }

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    state_.links = {{.index = 1, .name = "lo", .mtu = 65536, .is_up = true, .is_loopback = true},
                    {.index = 2, .name = "eth0", .mtu = 1500, .is_up = true, .is_ethernet = true},
                    {.index = 3, .name = "eth1", .mtu = 1500, .is_up = true, .is_ethernet = true}};
    state_.addresses = {{.link = 1, .address = ip("127.0.0.1"), .length = 8},
                        {.link = 2, .address = ip("10.0.0.11"), .length = 24}};
    state_.routes = {default_route("10.0.0.254"), default_route("2001:db8:2::fe")};
    for (const char* name : {"all", "lo", "eth0", "eth1"}) {
      const auto conf = "net/ipv4/conf/" + std::string(name) + "/";
      for (const char* one : {"arp_ignore", "arp_announce", "rp_filter"}) values_[conf + one] = 0;
      values_[conf + "accept_redirects"] = 1;
      values_["net/ipv6/conf/" + std::string(name) + "/accept_redirects"] = 1;
    }
    state_.sysctl = [this](const std::string& path) -> std::optional<int> {
      const auto found = values_.find(path);
      return found == values_.end() ? std::nullopt : std::optional(found->second);
    };
  }

  static host::Route default_route(const char* gateway) {
    return {.destination = net::IpAddress::any(ip(gateway).family()),
            .length = 0,
            .link = 2,
            .gateway = ip(gateway)};
  }
  [[nodiscard]] Plan plan() const { return make_plan(setup_, state_); }
  [[nodiscard]] std::vector<std::string> changes() const {
    std::vector<std::string> all;
    for (const auto& change : plan().changes) all.push_back(text_of(change));
    return all;
  }

  std::map<std::string, int> values_;
  HostState state_;
  realserver::Setup setup_{
      .mode = Mode::kDirect, .vips = {ip("192.0.2.10")}, .interfaces = {"eth0"}};
};

TEST_F(PlanTest, SilenceComesBeforeTheAddress) {
  setup_.vips.push_back(ip("2001:db8::10"));
  EXPECT_THAT(changes(), ElementsAre("net/ipv4/conf/all/arp_ignore = 1 (was 0)",
                                     "net/ipv4/conf/all/arp_announce = 2 (was 0)",
                                     "192.0.2.10/32 on lo", "2001:db8::10/128 on lo"));
  EXPECT_THAT(plan().refusals, IsEmpty());
  EXPECT_THAT(plan().warnings, IsEmpty());
}

TEST_F(PlanTest, WhatIsThereIsNotChanged) {
  values_["net/ipv4/conf/all/arp_ignore"] = 2;
  values_["net/ipv4/conf/all/arp_announce"] = 2;
  state_.addresses.push_back({.link = 1, .address = ip("192.0.2.10"), .length = 32});
  EXPECT_THAT(changes(), IsEmpty());
}

// The larger value counts; 3 answers for addresses of lo.
TEST_F(PlanTest, AnInterfaceThatAnswersAllTheSame) {
  values_["net/ipv4/conf/eth1/arp_ignore"] = 3;
  values_["net/ipv4/conf/eth0/arp_ignore"] = 8;  // answers nothing: somebody means it
  EXPECT_THAT(changes(),
              ElementsAre("net/ipv4/conf/all/arp_ignore = 1 (was 0)",
                          "net/ipv4/conf/eth1/arp_ignore = 1 (was 3)",
                          "net/ipv4/conf/all/arp_announce = 2 (was 0)", "192.0.2.10/32 on lo"));
}

TEST_F(PlanTest, StrictFiltersAreLoosened) {
  values_["net/ipv4/conf/all/rp_filter"] = 1;
  EXPECT_THAT(changes(), ::testing::Contains("net/ipv4/conf/eth0/rp_filter = 2 (was 0)"));
  values_["net/ipv4/conf/all/rp_filter"] = 0;
  values_["net/ipv4/conf/eth0/rp_filter"] = 1;
  EXPECT_THAT(changes(), ::testing::Contains("net/ipv4/conf/eth0/rp_filter = 2 (was 1)"));
  values_["net/ipv4/conf/all/rp_filter"] = 2;
  EXPECT_THAT(changes(), ::testing::Not(::testing::Contains(HasSubstr("rp_filter"))));
}

TEST_F(PlanTest, Ipv6AloneNeedsNoArp) {
  setup_.vips = {ip("2001:db8::10")};
  EXPECT_THAT(changes(), ElementsAre("2001:db8::10/128 on lo"));
}

TEST_F(PlanTest, TunnelsAreStrippedOnce) {
  setup_.mode = Mode::kTunnel;
  EXPECT_THAT(changes(), ::testing::Contains("tunnels are stripped on eth0"));
  state_.decapsulating = {"eth0"};
  EXPECT_THAT(changes(), ::testing::Not(::testing::Contains("tunnels are stripped on eth0")));
  EXPECT_THAT(plan().advice, ElementsAre(HasSubstr("holds packets of 1460 bytes")));
  EXPECT_THAT(plan().advice, ElementsAre(HasSubstr("advmss 1420 (IPv6: 1400)")));
  state_.routes[0].advmss = 1400;
  EXPECT_THAT(plan().advice, IsEmpty());
}

TEST_F(PlanTest, NatNeedsNoAddressButNoRedirects) {
  setup_.mode = Mode::kNat;
  EXPECT_THAT(changes(), ElementsAre("net/ipv4/conf/all/accept_redirects = 0 (was 1)",
                                     "net/ipv4/conf/eth0/accept_redirects = 0 (was 1)",
                                     "net/ipv6/conf/eth0/accept_redirects = 0 (was 1)"));
  EXPECT_THAT(plan().advice, ElementsAre(HasSubstr("must lead through the director")));
}

TEST_F(PlanTest, TheDefaultRouteIsCompared) {
  setup_.director = ip("10.0.0.1");
  setup_.mode = Mode::kNat;
  EXPECT_THAT(plan().warnings, ElementsAre(HasSubstr("does not lead through the director")));
  state_.routes = {default_route("10.0.0.1")};
  EXPECT_THAT(plan().warnings, IsEmpty());
  setup_.mode = Mode::kDirect;
  EXPECT_THAT(plan().warnings, ElementsAre(HasSubstr("leads through the director, which drops")));
  state_.routes.clear();
  EXPECT_THAT(plan().warnings, ElementsAre(HasSubstr("no IPv4 default route")));
}

TEST_F(PlanTest, AnAddressThatIsElsewhereIsRefused) {
  state_.addresses.push_back({.link = 2, .address = ip("192.0.2.10"), .length = 24});
  EXPECT_THAT(plan().refusals, ElementsAre(HasSubstr("ip address del 192.0.2.10/24 dev eth0")));
  setup_.mode = Mode::kNat;
  EXPECT_THAT(plan().refusals, ElementsAre(HasSubstr("is an address of this host (on eth0)")));
  state_.addresses.back() = {.link = 1, .address = ip("192.0.2.10"), .length = 24};
  setup_.mode = Mode::kDirect;
  EXPECT_THAT(plan().refusals, ElementsAre(HasSubstr("ip address del 192.0.2.10/24 dev lo")));
}

TEST_F(PlanTest, UnknownAndDownInterfacesAreTold) {
  setup_.interfaces = {"eth7", "eth1"};
  state_.links[2].is_up = false;
  EXPECT_THAT(plan().refusals, ElementsAre("there is no interface 'eth7'"));
  EXPECT_THAT(plan().warnings, ElementsAre("interface eth1 is down"));
}

TEST_F(PlanTest, LikelyInterfaces) {
  EXPECT_THAT(likely_interfaces(state_), ElementsAre("eth0"));
  state_.routes.clear();
  EXPECT_THAT(likely_interfaces(state_), ElementsAre("eth0", "eth1"));
}

TEST(JudgeOwners, OnlyTheDirectorMayAnswer) {
  const auto judge = [](Mode mode, std::vector<net::Mac> answers,
                        std::optional<net::Mac> director) {
    Plan plan;
    judge_owners(plan, mode,
                 {{.vip = ip("192.0.2.10"),
                   .interface = "eth0",
                   .answers = std::move(answers),
                   .director = director}});
    return plan;
  };
  const auto one = mac("02:00:00:00:00:01");
  const auto two = mac("02:00:00:00:00:02");
  EXPECT_THAT(judge(Mode::kDirect, {one}, one).refusals, IsEmpty());
  EXPECT_THAT(judge(Mode::kDirect, {one}, {}).refusals, IsEmpty());
  EXPECT_THAT(judge(Mode::kDirect, {two}, one).refusals,
              ElementsAre(HasSubstr("192.0.2.10 is taken on eth0: 02:00:00:00:00:02 answers")));
  EXPECT_THAT(judge(Mode::kTunnel, {one, two}, one).refusals,
              ElementsAre(HasSubstr("2 hosts answer for 192.0.2.10 on eth0")));
  EXPECT_THAT(judge(Mode::kDirect, {}, {}).advice,
              ElementsAre(HasSubstr("nobody answers for 192.0.2.10")));
  EXPECT_THAT(judge(Mode::kTunnel, {}, {}).advice, IsEmpty());
}

}  // namespace
}  // namespace lb::realserver
