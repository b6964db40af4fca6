// SPDX-License-Identifier: Apache-2.0
// Checks of source NAT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/checks_lab.hpp"

namespace lb::doctor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SnatChecksTest : public ChecksTest {
 protected:
  /// Hosts 10.0.0.0/8 behind eth1 leave by eth0 as 192.0.2.20, an address of this host.
  SnatChecksTest() {
    be_director();
    facts_.addresses.push_back({.link = 2, .address = ip("192.0.2.20"), .length = 32});
    facts_.local_ports = {{.first = 32768, .last = 60999}};
    SnatFacts rule;
    rule.info.rule.name = "out";
    rule.info.rule.inside = {.address = ip("10.0.0.0"), .length = 8};
    EXPECT_TRUE(rule.info.rule.add({.first = ip("192.0.2.20"), .last = ip("192.0.2.21")}));
    rule.asks_for_inside = true;
    rule.inside = host::Route{.destination = ip("10.0.0.1"), .length = 32, .link = 3};
    rule.outside = host::Route{.destination = ip("0.0.0.1"), .length = 32, .link = 2};
    rule.answers = {{.address = ip("192.0.2.20"), .link = 2, .macs = {}}};
    facts_.director->snat = {rule};
  }
  SnatFacts& snat() { return facts_.director->snat[0]; }
};

TEST_F(SnatChecksTest, Pool) {
  EXPECT_THAT(found(), IsEmpty()) << words();
  snat().answers[0].macs = {kOwnMac};  // another interface of this host
  EXPECT_THAT(found(), IsEmpty());
  snat().answers[0].macs = {kServerMac};
  EXPECT_THAT(found(), ElementsAre("error snat-pool"));
  EXPECT_THAT(words(), HasSubstr("192.0.2.20 of the SNAT rule `out' is another host's"));
  snat().answers = {{.address = ip("192.0.2.21"), .link = 2, .macs = {}},
                    {.address = ip("192.0.2.22"), .link = 2, .macs = {}}};
  EXPECT_THAT(found(), ElementsAre("warning snat-pool"));
  EXPECT_THAT(words(), HasSubstr("ip address add 192.0.2.21/32 dev eth0"));
}

TEST_F(SnatChecksTest, Served) {
  snat().inside.reset();
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("ip route add 10.0.0.0/8 via"));
  snat().asks_for_inside = false;
  EXPECT_THAT(found(), IsEmpty());
  facts_.links.push_back({.index = 4, .name = "eth2", .mtu = 1500, .is_up = true});
  snat().inside = host::Route{.destination = ip("10.0.0.1"), .length = 32, .link = 4};
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("inside hosts of the SNAT rule `out' are behind eth2"));
  snat().inside->is_local = true;
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.interface = "eth9";
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  EXPECT_THAT(words(), HasSubstr("would be behind eth9"));
  snat().info.rule.interface = "eth0";
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.interface = {};
  snat().outside->link = 4;
  EXPECT_THAT(found(), ElementsAre("error snat-served"));
  snat().outside.reset();
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(SnatChecksTest, Ports) {
  snat().info.rule.ports = {.first = 1024, .last = 32767};
  EXPECT_THAT(found(), IsEmpty());
  snat().info.rule.ports.last = 32768;
  EXPECT_THAT(found(), ElementsAre("warning snat-ports"));
  EXPECT_THAT(words(), HasSubstr("ports 1024-32768 of 192.0.2.20"));
  snat().info.rule.pool[0] = {.first = ip("203.0.113.1"), .last = ip("203.0.113.9")};
  EXPECT_THAT(found(), IsEmpty());  // not this host's
}

TEST_F(SnatChecksTest, Refused) {
  snat().info.refused_pool = 3;
  snat().info.last_refusal = model::SnatRefusal::kPoolExhausted;
  snat().info.last_refused = ip("10.0.0.7");
  snat().info.last_refused_destination = {.address = ip("198.51.100.7"),
                                          .port = net::Port::from_host(443)};
  EXPECT_THAT(found(), ElementsAre("warning snat-refused"));
  EXPECT_THAT(words(), HasSubstr("refused 3 connections"));
  EXPECT_THAT(words(), HasSubstr("10.0.0.7 to 198.51.100.7:443: no port was free"));
  EXPECT_THAT(words(), HasSubstr("sluice snat zero out"));
}

}  // namespace
}  // namespace lb::doctor
