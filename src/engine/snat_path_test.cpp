// SPDX-License-Identifier: Apache-2.0
// What SNAT does to packets, seen from outside the director.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "engine/allocation_counter.hpp"
#include "engine/removal.hpp"
#include "engine/testing/kept_memory.hpp"
#include "engine/testing/snat_lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::SnatRule;
using Kind = Verdict::Kind;

using DirectorSnatPath = SnatLabTest;

TEST_F(DirectorSnatPath, TcpGoesOutAndAnswersFindBack) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside] :
       {std::pair{server(1, 40000), client(443)}, std::pair{server6(1, 40000), client6(443)}}) {
    const auto shown = open(inside, outside);
    EXPECT_EQ(shown.address, ip(inside.address.is_v4() ? "192.0.2.11" : "2001:db8:2::20"));
    EXPECT_GE(shown.port.to_host(), SnatRule::kFirstPort);
    const auto answer = inward(tcp(outside, shown, kSyn | kAck));
    EXPECT_EQ(answer.source, outside.address);
    EXPECT_EQ(answer.destination, inside.address);
    EXPECT_EQ(answer.destination_port, inside.port);
    const auto third = outward(tcp(inside, outside, kAck));
    EXPECT_EQ(third.source_port, shown.port);
    const auto all = lab_.connections();
    ASSERT_EQ(all.size(), inside.address.is_v4() ? 1U : 2U);
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& connection) {
      return connection.client == inside;
    });
    ASSERT_NE(found, all.end());
    EXPECT_EQ(found->virtual_end, shown);
    EXPECT_EQ(found->destination, outside);
    EXPECT_EQ(found->state, model::Name("ESTABLISHED"));
    EXPECT_EQ(found->snat_rule, model::Name(inside.address.is_v4() ? "out" : "out6"));
    EXPECT_EQ(found->expires_in, 7440U);
  }
  const auto seen = info();
  EXPECT_EQ(seen.active_connections, 1U);
  EXPECT_EQ(seen.clients, 1U);
  EXPECT_EQ(seen.statistics.counters.connections, 1U);
  EXPECT_EQ(seen.statistics.counters.packets_in, 2U);
  EXPECT_EQ(seen.statistics.counters.packets_out, 1U);
}

TEST_F(DirectorSnatPath, UdpAndEchoToo) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside] :
       {std::pair{server(1, 5353), client(53)}, std::pair{server6(1, 5353), client6(53)}}) {
    const auto question = outward(udp(inside, outside));
    const auto answer = inward(udp(outside, {question.source, question.source_port}));
    EXPECT_EQ(answer.destination, inside.address);
    EXPECT_EQ(answer.destination_port, inside.port);

    const auto request = outward(echo(inside.address, outside.address, true, 77));
    const auto number = identifier_of(lab_.sent[0], request);
    EXPECT_EQ(request.source, question.source);
    const auto reply = inward(echo(outside.address, request.source, false, number));
    EXPECT_EQ(reply.destination, inside.address);
    EXPECT_EQ(identifier_of(lab_.sent[0], reply), 77U);
    // An identifier that nobody has is the host's, or nobody's.
    const auto verdict =
        lab_.process(echo(outside.address, request.source, false, number ^ 1U), kOutside);
    EXPECT_EQ(verdict.kind, inside.address.is_v4() ? Kind::kHost : Kind::kDrop);
  }
  lab_.pass(std::chrono::seconds(59));
  EXPECT_EQ(lab_.director.connection_count(), 4U);
  lab_.pass(std::chrono::seconds(2));
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  lab_.pass(std::chrono::seconds(240));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  EXPECT_EQ(info().clients, 0U);
}

TEST_F(DirectorSnatPath, WithoutARuleItIsTheHosts) {
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  auto rule = out4();
  rule.destination = {.address = ip("203.0.113.0"), .length = 24};
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(sctp(server(1), client(443), 1), kInside).kind, Kind::kHost);
  rule = out4();
  rule.name = "by-interface";
  rule.interface = "inside";
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  rule.name = "right";
  rule.interface = "outside";
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kSend);
  // To the director itself, and to nobody in particular.
  EXPECT_EQ(lab_.process(tcp(server(1), end("10.0.0.1", 22), kSyn), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(udp(server(1), end("255.255.255.255", 67)), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(udp(server(1), end("224.0.0.9", 520)), kInside).kind, Kind::kHost);
  // From outside with an inside address.
  EXPECT_EQ(lab_.process(tcp(server(2), client(443), kSyn), kOutside).kind, Kind::kHost);
}

TEST_F(DirectorSnatPath, OnlyAFirstPacketOpens) {
  add(out4());
  EXPECT_EQ(lost(tcp(server(1), client(443), kAck)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(tcp(server(1), client(443), kSyn | kAck)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(tcp(server(1), client(443), kRst)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(echo(server(1).address, client().address, false, 5)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(DirectorSnatPath, ServicesComeFirst) {
  ASSERT_TRUE(lab_.director.add_service(service_at(vip())));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  auto rule = pool_rule("out", "10.0.0.0", 16, vip().address.to_text());
  rule.ports = {80, 81};
  add(rule);
  // A service's port is not given away.
  EXPECT_EQ(open(server(2), client(443)).port, port_of(81));
  EXPECT_EQ(lost(tcp(server(3), client(443), kSyn)), DropReason::kSnatPoolExhausted);
  // Requests to the service, from both sides, and its answers.
  EXPECT_EQ(inward(tcp(client(), vip(), kSyn)).destination, server(1).address);
  EXPECT_EQ(outward(tcp(server(1), client(), kSyn | kAck)).source, vip().address);
  EXPECT_EQ(passed(tcp(server(4), vip(), kSyn), kInside, kInside).destination, server(1).address);
}

TEST_F(DirectorSnatPath, ADeletedRuleTakesItsConnectionsAlong) {
  add(out4());
  (void)open(server(1), client(443));
  auto other = out4();
  other.name = "other";
  other.inside.length = 24;
  add(other);
  (void)open(server(2), client(443));
  ASSERT_TRUE(delete_snat_rule(lab_.director, "out"));
  EXPECT_EQ(lost(tcp(server(1), client(443), kAck)), DropReason::kDestinationRemoved);
  // A rule that takes the old one's place has nothing of it.
  auto again = out4();
  again.name = "again";
  add(again);
  EXPECT_EQ(info("again").clients, 0U);
  Outputs outputs;
  while (end_due(lab_.director, outputs)) {
  }
  ASSERT_EQ(lab_.connections().size(), 1U);
  EXPECT_EQ(lab_.connections()[0].snat_rule, model::Name("other"));
  EXPECT_EQ(info("again").clients, 0U);
  EXPECT_EQ(info("other").clients, 1U);
  (void)open(server(1), client(443));
  EXPECT_EQ(info("other").active_connections + info("other").inactive_connections, 2U);
}

TEST_F(DirectorSnatPath, ConnectionsOutliveTheProcess) {
  KeptMemory kept(64);
  auto options = small_options();
  options.memory = kept.memory();
  net::Endpoint shown;
  {
    Lab lab(options);
    lab.director.begin_saving();
    auto rule = out4();
    rule.client_limit = 2;
    ASSERT_TRUE(add_snat_rule(lab.director, rule));
    ASSERT_EQ(lab.process(tcp(server(1, 40000), client(443), kSyn), kInside).kind, Kind::kSend);
    const auto headers = net::parse_frame(lab.sent[0]);
    shown = {headers->source, headers->source_port};
    lab.pass(std::chrono::seconds(3));
  }
  options.hash_key = {99, 77};
  Lab next(options);
  const auto adoption = next.director.adopt(next.now);
  EXPECT_EQ(adoption.connections, 1U);
  EXPECT_EQ(adoption.lost, 0U);
  EXPECT_EQ(adoption.services, 0U);
  ASSERT_EQ(next.process(tcp(client(443), shown, kSyn | kAck), kOutside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(next.sent[0])->destination, server(1).address);
  ASSERT_EQ(next.process(tcp(server(1, 40000), client(443), kAck), kInside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(next.sent[0])->source_port, shown.port);
  const auto info = snat_rule(next.director, "out").value();
  EXPECT_EQ(info.clients, 1U);
  EXPECT_EQ(info.statistics.counters.packets_in, 2U);
  // The limit counts what was there.
  EXPECT_EQ(next.process(tcp(server(1, 1), client(443), kSyn), kInside).kind, Kind::kSend);
  EXPECT_EQ(next.process(tcp(server(1, 2), client(443), kSyn), kInside).reason,
            DropReason::kSnatClientLimit);
  EXPECT_EQ(next.director.service_count(), 0U);
}

TEST_F(DirectorSnatPath, NothingIsAllocatedForAPacket) {
  auto rule = out4();
  rule.client_limit = 3;
  rule.ports = {5000, 5001};
  add(rule);
  add(fixed_rule(server(5).address, ip("192.0.2.20")));
  for (const auto& frame :
       {tcp(server(1, 1), client(443), kSyn), tcp(server(1, 2), client(443), kSyn),
        tcp(server(1, 3), client(443), kSyn), udp(server(1, 1), client(53)),
        udp(server(1, 2), client(53)), echo(server(2).address, client().address, true, 3),
        udp(server(2), end("192.0.2.20", 53)), udp(client(), end("192.0.2.20", 53)),
        tcp(client(), end("192.0.2.20", 53), kAck)}) {
    lab_.outputs.clear();
    auto packet = lab_.buffer.receive(frame);
    const auto headers = net::parse_frame(frame);
    const bool is_outside = headers->source == client().address;
    const lb::test::AllocationCounter counter;
    (void)lab_.director.process(packet, is_outside ? kOutside : kInside, lab_.now, lab_.outputs);
    EXPECT_EQ(counter.count(), 0U);
  }
}

}  // namespace
}  // namespace lb::engine
