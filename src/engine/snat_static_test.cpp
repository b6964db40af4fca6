// SPDX-License-Identifier: Apache-2.0
// Static mappings of SNAT: inside hosts that are reached from outside.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/testing/snat_lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

using DirectorSnatStatic = SnatLabTest;

TEST_F(DirectorSnatStatic, AStaticMappingWorksBothWays) {
  const auto outside = ip("192.0.2.20");  // only routed to the director
  add(out4());
  add(fixed_rule(server(5).address, outside));
  const auto shown = open(server(5, 4000), client(443));
  EXPECT_EQ(shown, (net::Endpoint{outside, port_of(4000)}));
  EXPECT_EQ(inward(tcp(client(443), shown, kSyn | kAck)).destination_port, port_of(4000));
  // Opened from outside.
  EXPECT_EQ(inward(tcp(client(5000), {outside, port_of(22)}, kSyn)).destination, server(5).address);
  EXPECT_EQ(outward(tcp(server(5, 22), client(5000), kSyn | kAck)).source, outside);
  EXPECT_EQ(inward(tcp(client(5000), {outside, port_of(22)}, kAck)).destination, server(5).address);
  EXPECT_EQ(inward(echo(client().address, outside, true, 9)).destination, server(5).address);
  EXPECT_EQ(outward(echo(server(5).address, client().address, false, 9)).source, outside);
  EXPECT_EQ(lost(tcp(client(5001), {outside, port_of(22)}, kAck), kOutside),
            DropReason::kNotFirstPacket);
  const auto all = lab_.connections();
  EXPECT_EQ(std::count_if(all.begin(), all.end(),
                          [](const auto& c) { return c.state == model::Name("ESTABLISHED"); }),
            1);
}

TEST_F(DirectorSnatStatic, OnlyMappedPortsAreReachedFromOutside) {
  add(out4());
  auto web = fixed_rule(server(5, 80).address, ip("192.0.2.20"));
  web.protocol = 6;
  web.ports = {80, 80};
  add(web);
  EXPECT_EQ(inward(tcp(client(), end("192.0.2.20", 80), kSyn)).destination, server(5).address);
  EXPECT_EQ(lost(tcp(client(), end("192.0.2.20", 81), kSyn), kOutside),
            DropReason::kSnatNoConnection);
  EXPECT_EQ(lost(udp(client(), end("192.0.2.20", 80)), kOutside), DropReason::kSnatNoConnection);
  // What the host itself opens goes by the pool.
  EXPECT_EQ(open(server(5, 4000), client(443)).address, ip("192.0.2.11"));
}

TEST_F(DirectorSnatStatic, InsideHostsMeetAtAMappedAddress) {
  add(out4());
  const auto outside = ip("192.0.2.20");
  add(fixed_rule(server(5).address, outside));
  const auto through = [&](const Frame& frame) { return passed(frame, kInside, kInside); };
  const auto first = through(tcp(server(1, 4000), {outside, port_of(80)}, kSyn));
  EXPECT_EQ(first.destination, server(5).address);
  EXPECT_EQ(first.source, ip("192.0.2.11"));
  const net::Endpoint shown{first.source, first.source_port};
  const auto back = through(tcp(server(5, 80), shown, kSyn | kAck));
  EXPECT_EQ(back.source, outside);
  EXPECT_EQ(back.source_port, port_of(80));
  EXPECT_EQ(back.destination, server(1).address);
  EXPECT_EQ(back.destination_port, port_of(4000));
  EXPECT_EQ(through(tcp(server(1, 4000), {outside, port_of(80)}, kAck)).source_port, shown.port);
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  // To itself, by its own outside address.
  EXPECT_EQ(through(udp(server(5, 7), {outside, port_of(53)})).source, outside);
  // An error about it finds the host that sent it.
  (void)through(udp(server(2, 9000), {outside, port_of(99)}));
  const auto arrived = lab_.sent[0];
  const auto told =
      through(port_unreachable(server(5).address, net::parse_frame(arrived)->source, arrived));
  EXPECT_EQ(told.destination, server(2).address);
  EXPECT_EQ(told.source, outside);
  const auto quoted = net::parse_embedded(lab_.sent[0], told.transport_offset + 8U);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->source_port, port_of(9000));
  EXPECT_EQ(quoted->destination, outside);
}

}  // namespace
}  // namespace lb::engine
