// SPDX-License-Identifier: Apache-2.0
// Checks of tunnels and of devices.
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

TEST_F(ChecksTest, TunnelMtu) {
  be_director();
  first().info.spec.method = ForwardingMethod::kTunnel;
  EXPECT_THAT(found(), IsEmpty());  // 1600 on that link
  facts_.links[2].mtu = 1520;
  EXPECT_THAT(found(), IsEmpty());
  facts_.links[2].mtu = 1519;
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
  EXPECT_THAT(words(), HasSubstr("holds 1499 bytes (MTU 1519 less 20 of headers)"));
  EXPECT_THAT(words(), HasSubstr("to 1520, or have the server tell segments of 1459"));
  facts_.links[2].mtu = 1520;
  first().info.spec.tunnel.type = model::TunnelType::kGue;
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
  facts_.links[2].mtu = 1532;
  EXPECT_THAT(found(), IsEmpty());
  first().route->mtu = 1500;  // of the path
  EXPECT_THAT(found(), ElementsAre("warning tunnel-mtu"));
}

TEST_F(ChecksTest, TunnelSegmentsOfTheServer) {
  be_server(Mode::kTunnel);
  EXPECT_THAT(found(), ElementsAre("note tunnel-mtu"));
  facts_.routes[0].advmss = 1400;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, Decapsulation) {
  be_server(Mode::kTunnel);
  facts_.routes[0].advmss = 1400;
  facts_.server->strips_tunnels = false;
  EXPECT_THAT(found(), ElementsAre("error decapsulation"));
  facts_.links.push_back({.index = 9, .name = "tunl0", .kind = "ipip", .mtu = 1480, .is_up = true});
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, NotServed) {
  be_director();
  facts_.director->status.interfaces.pop_back();
  EXPECT_THAT(found(), ElementsAre("error not-served"));  // the NAT server's side
  first().info.spec.method = ForwardingMethod::kDirectRoute;
  EXPECT_THAT(found(), IsEmpty());
  facts_.director->status.interfaces[0].xdp_mode = "none";
  EXPECT_THAT(found(), ElementsAre("error not-served"));
  facts_.director->status.interfaces[0] = {
      .name = "eth1", .xdp_mode = "native", .note = {}, .counters = {}};
  EXPECT_THAT(found(), ElementsAre("warning not-served"));  // the clients' side
}

TEST_F(ChecksTest, GenericXdpAndWhatTheDriverLacks) {
  be_director();
  facts_.director->status.interfaces[0].xdp_mode = "generic";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
  EXPECT_THAT(words(), HasSubstr("the driver (fast) has no native XDP or refused it"));
  facts_.xdp_abilities[2] = 0;
  EXPECT_THAT(words(), HasSubstr("the driver (fast) has no native XDP |"));
  facts_.xdp_abilities[2] = host::kXdpBasic;
  EXPECT_THAT(words(), HasSubstr("can't redirect to AF_XDP"));
  facts_.xdp_abilities[2] = host::kXdpBasic | host::kXdpRedirect;
  EXPECT_THAT(words(), HasSubstr("so xdp_mode says generic or the driver refused"));
}

TEST_F(ChecksTest, VethOffload) {
  be_director();
  facts_.director->status.interfaces[0].xdp_mode = "generic";
  facts_.links[1].kind = "veth";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic", "warning veth-offload"));
  facts_.kernel = 6009;
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
  facts_.kernel = 6001;
  facts_.links[1].kind = "";
  EXPECT_THAT(found(), ElementsAre("warning xdp-generic"));
}

TEST_F(ChecksTest, UnfinishedChecksums) {
  be_director();
  auto& counters = facts_.director->status.interfaces[0].counters;
  counters = {{"unfinished_checksums", 999}};
  EXPECT_THAT(found(), IsEmpty());
  counters = {{"unfinished_checksums", 1000}};
  EXPECT_THAT(found(), ElementsAre("warning veth-offload"));
  EXPECT_THAT(words(), HasSubstr("eth0 is a veth whose peer left the checksums of 1000 frames"));
}

TEST_F(ChecksTest, OneProcessor) {
  be_director();
  auto& counters = facts_.director->status.director.counters;
  counters = {{"xdp_forwarded", 9999}, {"xdp_forwarded_by_busiest", 9999}};
  EXPECT_THAT(found(), IsEmpty());  // too few to tell
  counters = {{"xdp_forwarded", 20000}, {"xdp_forwarded_by_busiest", 18001}};
  EXPECT_THAT(found(), ElementsAre("warning one-queue"));
  counters[1].value = 18000;
  EXPECT_THAT(found(), IsEmpty());
  counters[1].value = 20000;
  facts_.processors = 1;
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ChecksTest, OneQueue) {
  be_director();
  auto& counters = facts_.director->status.interfaces[0].counters;
  counters = {{"packets_received_queue_0", 9001}, {"packets_received_queue_1", 998}};
  EXPECT_THAT(found(), IsEmpty());  // too few to tell
  counters = {{"packets_received_queue_0", 9100}, {"packets_received_queue_1", 900}};
  EXPECT_THAT(found(), ElementsAre("warning one-queue"));
  counters = {{"packets_received_queue_0", 9000}, {"packets_received_queue_1", 1000}};
  EXPECT_THAT(found(), IsEmpty());
  counters.clear();
  facts_.links[1].receive_queues = 1;
  EXPECT_THAT(found(), ElementsAre("note one-queue"));
  facts_.processors = 1;
  EXPECT_THAT(found(), IsEmpty());
}

}  // namespace
}  // namespace lb::doctor
