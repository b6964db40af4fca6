// SPDX-License-Identifier: Apache-2.0
// Which address and port SNAT chooses, and when it refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/testing/snat_lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using Kind = Verdict::Kind;

using DirectorSnatChoice = SnatLabTest;

TEST_F(DirectorSnatChoice, APortServesManyDestinations) {
  auto rule = out4();
  rule.ports = {5000, 5000};
  add(rule);
  for (unsigned port = 1; port <= 50; ++port) {
    EXPECT_EQ(open(server(1), client(port)), end("192.0.2.11", 5000)) << port;
  }
  // Also for other protocols, but not twice for one destination.
  EXPECT_EQ(outward(udp(server(1), client(1))).source_port, port_of(5000));
  EXPECT_EQ(lost(tcp(server(2), client(1), kSyn)), DropReason::kSnatPoolExhausted);
  // Whoever has a connection keeps it.
  EXPECT_EQ(outward(tcp(server(1), client(1), kAck)).source_port, port_of(5000));
}

TEST_F(DirectorSnatChoice, AnExhaustedPoolSaysWhoWasRefused) {
  auto rule = out4();
  rule.ports = {5000, 5003};
  add(rule);
  std::set<unsigned> ports;
  net::Endpoint shown;
  for (unsigned i = 0; i < 4; ++i) {
    shown = open(server(1, 100 + i), client(443));
    ports.insert(shown.port.to_host());
  }
  EXPECT_EQ(ports, (std::set<unsigned>{5000, 5001, 5002, 5003}));
  EXPECT_EQ(lost(tcp(server(2), client(443), kSyn)), DropReason::kSnatPoolExhausted);
  // The client is told (RFC 6888, REQ-8).
  ASSERT_EQ(lab_.sent.size(), 1U);
  const auto told = net::parse_frame(lab_.sent[0]);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->destination, server(2).address);
  EXPECT_EQ(told->icmp_type, 3);
  EXPECT_EQ(told->icmp_code, 1);
  EXPECT_EQ(info().refused_pool, 1U);
  EXPECT_EQ(info().last_refusal, model::SnatRefusal::kPoolExhausted);
  EXPECT_EQ(info().last_refused, server(2).address);
  EXPECT_EQ(info().last_refused_destination, client(443));
  // A connection that goes makes room: the last was refused.
  EXPECT_EQ(inward(tcp(client(443), shown, kRst)).destination_port, port_of(103));
  lab_.pass(std::chrono::seconds(11));
  EXPECT_EQ(lab_.process(tcp(server(2), client(443), kSyn), kInside).kind, Kind::kSend);
  ASSERT_TRUE(zero_snat_rule(lab_.director, "out"));
  EXPECT_EQ(info().refused_pool, 0U);
  EXPECT_FALSE(info().last_refused);
}

TEST_F(DirectorSnatChoice, AClientHasItsLimit) {
  auto rule = out4();
  rule.client_limit = 2;
  add(rule);
  const auto first = open(server(1, 1), client(443));
  (void)open(server(1, 2), client(443));
  EXPECT_EQ(lost(tcp(server(1, 3), client(443), kSyn)), DropReason::kSnatClientLimit);
  EXPECT_EQ(info().refused_limit, 1U);
  EXPECT_EQ(info().last_refused, server(1).address);
  (void)open(server(2, 1), client(443));
  EXPECT_EQ(info().clients, 2U);
  // Its connections still work, and one that ends makes room.
  (void)outward(tcp(server(1, 2), client(443), kAck));
  (void)inward(tcp(client(443), first, kRst));
  lab_.pass(std::chrono::seconds(11));
  (void)open(server(1, 3), client(443));
}

TEST_F(DirectorSnatChoice, AFullTableIsCountedForTheRule) {
  add(out4());
  unsigned port = 0;
  while (lab_.process(tcp(server(1, ++port), client(443), kSyn), kInside).kind == Kind::kSend) {
  }
  EXPECT_EQ(lab_.dropped(DropReason::kTableFull), 1U);
  EXPECT_EQ(info().refused_table, 1U);
}

TEST_F(DirectorSnatChoice, AClientKeepsItsAddress) {
  add(pool_rule("out", "10.0.0.0", 16, "192.0.2.20", "192.0.2.27"));
  std::map<net::IpAddress, std::size_t> used;
  for (unsigned n = 1; n <= 16; ++n) {
    const auto shown = open(server(n, 1), client(443)).address;
    ++used[shown];
    EXPECT_EQ(open(server(n, 2), client(444)).address, shown);
    EXPECT_EQ(outward(udp(server(n, 3), client(53))).source, shown);
  }
  EXPECT_GT(used.size(), 3U);
}

TEST_F(DirectorSnatChoice, PortsAreHardToForetell) {
  auto options = small_options();
  options.connection_capacity = 4096;
  Lab big(options);
  ASSERT_TRUE(add_snat_rule(big.director, out4()));
  std::set<unsigned> seen;
  std::set<int> steps;
  int previous = 0;
  unsigned lowest = 65535;
  unsigned highest = 0;
  for (unsigned i = 0; i < 2000; ++i) {
    big.process(tcp(server(1, 1000 + i), client(443), kSyn), kInside);
    ASSERT_EQ(big.sent.size(), 1U);
    const auto port = net::parse_frame(big.sent[0])->source_port.to_host();
    // Where the host's own connections get their ports, it keeps away.
    EXPECT_TRUE(port < 32768 || port > 60999) << port;
    seen.insert(port);
    steps.insert(int{port} - previous);
    previous = port;
    lowest = std::min<unsigned>(lowest, port);
    highest = std::max<unsigned>(highest, port);
  }
  EXPECT_EQ(seen.size(), 2000U);
  EXPECT_GT(steps.size(), 1900U);
  EXPECT_LT(lowest, 1200U);
  EXPECT_GT(highest, 65000U);
}

TEST_F(DirectorSnatChoice, PortsOfTheHostAreLeftToIt) {
  HostPorts ports;
  ports.tcp.set(5000);
  ports.udp.set(5001);
  set_host_ports(lab_.director, ports);
  auto rule = out4();
  rule.ports = {5000, 5001};
  add(rule);
  EXPECT_EQ(open(server(1), client(443)).port, port_of(5001));
  EXPECT_EQ(outward(udp(server(1), client(443))).source_port, port_of(5000));
  EXPECT_EQ(lost(tcp(server(2), client(443), kSyn)), DropReason::kSnatPoolExhausted);
}

}  // namespace
}  // namespace lb::engine
