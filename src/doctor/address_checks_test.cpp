// SPDX-License-Identifier: Apache-2.0
// Checks of addresses and of routes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/checks_lab.hpp"

namespace lb::doctor {
namespace {

using model::ForwardingMethod;
using realserver::Mode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ChecksTest, VipMissingOnTheDirector) {
  be_director();
  service().is_local = false;
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
  EXPECT_THAT(words(), HasSubstr("ip address add 192.0.2.10/32 dev"));
  service().info.spec.key.fwmark = 7;  // marks name no address
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, VipMissingOnTheServer) {
  be_server(Mode::kDirect);
  facts_.addresses.pop_back();
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
}

TEST_F(ChecksTest, VipOnALinkOfTheServer) {
  be_server(Mode::kDirect);
  facts_.addresses.push_back({.link = 2, .address = ip("192.0.2.10"), .length = 24});
  EXPECT_THAT(found(), ElementsAre("error vip-missing"));
  EXPECT_THAT(words(), HasSubstr("ip address del 192.0.2.10/24 dev eth0"));
}

TEST_F(ChecksTest, VipAnsweredByARealServer) {
  be_director();
  facts_.answers = {{.address = ip("192.0.2.10"), .link = 2, .macs = {kOwnMac}}};
  EXPECT_THAT(found(), IsEmpty());  // another interface of this host
  facts_.answers[0].macs.push_back(kServerMac);
  EXPECT_THAT(found(), ElementsAre("error vip-answered"));
  EXPECT_THAT(words(), HasSubstr("02:00:00:00:00:11 (real server 10.0.0.11) answers ARP"));
}

TEST_F(ChecksTest, VipAnsweredByTwoAsAServerSeesIt) {
  be_server(Mode::kDirect);
  facts_.answers = {{.address = ip("192.0.2.10"), .link = 2, .macs = {kServerMac}}};
  EXPECT_THAT(found(), IsEmpty());  // the director
  facts_.answers[0].macs.push_back(mac("02:00:00:00:00:22"));
  EXPECT_THAT(found(), ElementsAre("error vip-answered"));
}

TEST_F(ChecksTest, ArpIgnore) {
  be_server(Mode::kDirect);
  for (const int value : {0, 3}) {
    values_["net/ipv4/conf/all/arp_ignore"] = value;
    EXPECT_THAT(found(), ElementsAre("error arp-ignore", "error arp-ignore"));
  }
  for (const int value : {1, 2, 8}) {
    values_["net/ipv4/conf/all/arp_ignore"] = value;
    EXPECT_THAT(found(), IsEmpty());
  }
  values_["net/ipv4/conf/all/arp_ignore"] = 0;
  facts_.server->vips = {};
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, ArpAnnounce) {
  be_server(Mode::kDirect);
  values_["net/ipv4/conf/all/arp_announce"] = 1;
  values_["net/ipv4/conf/eth1/arp_announce"] = 2;
  EXPECT_THAT(found(), ElementsAre("warning arp-announce"));
}

TEST_F(ChecksTest, ServerUnresolved) {
  be_director();
  first().next_hop_answers = std::vector<net::Mac>();
  EXPECT_THAT(found(), ElementsAre("error server-unresolved"));
  first().info.spec.weight = 0;  // it is out of use, and the service without another
  EXPECT_THAT(found(), ElementsAre("warning no-server"));
  first() = server();
  first().next_hop_answers.reset();  // a link that can't be asked
  EXPECT_THAT(found(), IsEmpty());
  first().route.reset();
  EXPECT_THAT(found(), ElementsAre("error server-unresolved"));
  EXPECT_THAT(words(), HasSubstr("no route to real server 10.0.0.11"));
}

TEST_F(ChecksTest, DirectServerBehindARouter) {
  be_director();
  first().route->gateway = ip("10.0.0.254");
  EXPECT_THAT(found(), IsEmpty());  // NAT may
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), ElementsAre("error dr-other-subnet"));
}

TEST_F(ChecksTest, NatAnswersDoNotReturn) {
  be_director();
  auto& counted = first().info.statistics.counters;
  counted.packets_in = 9;
  EXPECT_THAT(found(), IsEmpty());
  counted.packets_in = 10;
  EXPECT_THAT(found(), ElementsAre("error nat-return-path"));
  counted.packets_out = 1;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, DefaultRoute) {
  be_server(Mode::kNat);
  facts_.server->director = ip("192.0.2.1");
  EXPECT_THAT(found(), ElementsAre("error default-route"));
  facts_.routes[0].gateway = ip("192.0.2.1");
  EXPECT_THAT(found(), IsEmpty());
  facts_.addresses.push_back({.link = 1, .address = ip("192.0.2.10"), .length = 32});
  facts_.server->mode = Mode::kDirect;
  EXPECT_THAT(found(), ElementsAre("error default-route"));
  facts_.routes.clear();
  EXPECT_THAT(found(), ElementsAre("warning default-route"));
}

TEST_F(ChecksTest, RpFilter) {
  be_server(Mode::kDirect);
  values_["net/ipv4/conf/all/rp_filter"] = 1;
  EXPECT_THAT(found(), IsEmpty());  // the way to clients is the same interface
  facts_.routes[0].link = 3;
  EXPECT_THAT(found(), ElementsAre("error rp-filter"));
  values_["net/ipv4/conf/eth0/rp_filter"] = 2;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, IpForward) {
  be_director();
  values_["net/ipv4/ip_forward"] = 0;
  EXPECT_THAT(found(), ElementsAre("warning ip-forward"));
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), IsEmpty());
  first() = server();
  values_["net/ipv4/ip_forward"] = 1;
  values_["net/ipv6/conf/all/forwarding"] = 0;
  EXPECT_THAT(found(), IsEmpty());  // no server has IPv6
  first().info.spec.address = ip("2001:db8::11");
  EXPECT_THAT(found(), ElementsAre("warning ip-forward"));
}

TEST_F(ChecksTest, RedirectsOfTheDirector) {
  be_director();
  values_["net/ipv4/conf/all/send_redirects"] = 1;
  EXPECT_THAT(found(), IsEmpty());  // two arms
  first().route->link = 2;
  EXPECT_THAT(found(), ElementsAre("warning redirects"));
  values_["net/ipv4/conf/all/send_redirects"] = 0;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, RedirectsOfTheServer) {
  be_server(Mode::kNat);
  values_["net/ipv4/conf/eth0/accept_redirects"] = 1;
  EXPECT_THAT(found(), ElementsAre("warning redirects"));
}

}  // namespace
}  // namespace lb::doctor
