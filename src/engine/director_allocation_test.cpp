// SPDX-License-Identifier: Apache-2.0
// No packet makes the director allocate, whatever becomes of it.
#include <gtest/gtest.h>

#include "engine/allocation_counter.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using lb::test::AllocationCounter;
using model::ForwardingMethod;
using net::Protocol;
using Kind = Verdict::Kind;

// Processes without what the lab itself allocates for its copies.
class DirectorNoAllocation : public testing::Test {
 protected:
  Verdict expect_none(std::span<const std::byte> frame, InterfaceId ingress = kOutside,
                      std::uint32_t mark = 0) {
    lab_.outputs.clear();
    auto packet = lab_.buffer.receive(frame);
    packet.mark = mark;
    const AllocationCounter counter;
    const auto verdict = lab_.director.process(packet, ingress, lab_.now, lab_.outputs);
    EXPECT_EQ(counter.count(), 0U);
    const auto bytes = packet.bytes();
    processed_.assign(bytes.begin(), bytes.end());
    return verdict;
  }

  void serve(const model::ServiceSpec& spec, const model::DestinationSpec& destination) {
    ASSERT_TRUE(lab_.director.add_service(spec));
    ASSERT_TRUE(lab_.director.add_destination(spec.key, destination));
  }

  Lab lab_;
  Frame processed_;
};

TEST_F(DirectorNoAllocation, ConnectionsOfEveryMethodAndProtocol) {
  unsigned port = 80;
  for (const auto method :
       {ForwardingMethod::kMasquerade, ForwardingMethod::kDirectRoute, ForwardingMethod::kTunnel}) {
    const bool keeps_port = method != ForwardingMethod::kMasquerade;
    for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
      for (const auto& [from, at, behind] :
           {std::tuple{client(), vip(++port), server(1, keeps_port ? port : 8080)},
            std::tuple{client6(), vip6(port), server6(1, keeps_port ? port : 8080)}}) {
        serve(service_at(at, protocol), to(behind, method));
        const auto frame = protocol == Protocol::kTcp   ? tcp(from, at, kSyn)
                           : protocol == Protocol::kUdp ? udp(from, at)
                                                        : sctp(from, at, 1);
        EXPECT_EQ(expect_none(frame).kind, Kind::kSend);
        EXPECT_EQ(expect_none(frame).kind, Kind::kSend);
      }
    }
  }
  EXPECT_EQ(lab_.director.connection_count(), 18U);
}

TEST_F(DirectorNoAllocation, EverySchedulerChoosing) {
  unsigned port = 100;
  for (const auto* scheduler :
       {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}) {
    SCOPED_TRACE(scheduler);
    ++port;
    serve(service_at(vip(port), Protocol::kTcp, scheduler), to(server(1)));
    ASSERT_TRUE(lab_.director.add_destination(key_of(vip(port)), to(server(2))));
    EXPECT_EQ(expect_none(tcp(client(1), vip(port), kSyn)).kind, Kind::kSend);
    EXPECT_EQ(expect_none(tcp(client(2), vip(port), kSyn)).kind, Kind::kSend);
  }
}

TEST_F(DirectorNoAllocation, AnswersPersistenceMarksAndOnePacketScheduling) {
  auto persistent = service_at(vip(0));
  persistent.flags = model::kServicePersistent;
  persistent.timeout = 300;
  serve(persistent, to(server(1, 0)));
  EXPECT_EQ(expect_none(tcp(client(), vip(443), kSyn)).kind, Kind::kSend);
  EXPECT_EQ(expect_none(tcp(client(1), vip(444), kSyn)).kind, Kind::kSend);
  EXPECT_EQ(expect_none(tcp(server(1, 443), client(), kSyn | kAck), kInside).kind, Kind::kSend);

  model::ServiceSpec marked = service_at({});
  marked.key.fwmark = 7;
  serve(marked, to(server(2, 0)));
  EXPECT_EQ(expect_none(udp(client(), vip(53)), kOutside, 7).kind, Kind::kSend);

  auto one_packet = service_at(vip(53), Protocol::kUdp);
  one_packet.flags = model::kServiceOnePacket;
  serve(one_packet, to(server(3)));
  const auto before = lab_.director.connection_count();
  EXPECT_EQ(expect_none(udp(client(2), vip(53))).kind, Kind::kSend);
  EXPECT_EQ(lab_.director.connection_count(), before);
}

TEST_F(DirectorNoAllocation, IcmpErrorsBothWays) {
  serve(service_at(vip()), to(server(1)));
  serve(service_at(vip6()), to(server6(1)));
  for (const auto& [from, at, behind] :
       {std::tuple{client(), vip(), server(1)}, std::tuple{client6(), vip6(), server6(1)}}) {
    expect_none(tcp(from, at, kSyn));
    const auto request = processed_;
    EXPECT_EQ(expect_none(port_unreachable(behind.address, from.address, request), kInside).kind,
              Kind::kSend);
    expect_none(tcp(behind, from, kSyn | kAck), kInside);
    const auto answer = processed_;
    EXPECT_EQ(expect_none(port_unreachable(from.address, at.address, answer)).kind, Kind::kSend);
  }
}

TEST_F(DirectorNoAllocation, Fragments) {
  serve(service_at(vip()), to(server(1)));
  const auto frame = tcp(client(), vip(), kSyn, 1000);
  EXPECT_EQ(expect_none(fragment_of(frame, 512, 600)).kind, Kind::kConsumed);
  EXPECT_EQ(lab_.outputs.frames().size(), 0U);
  EXPECT_EQ(expect_none(fragment_of(frame, 0, 512)).kind, Kind::kConsumed);
  EXPECT_EQ(lab_.outputs.frames().size(), 2U);
}

TEST_F(DirectorNoAllocation, LossesAndWhatIsNotBalanced) {
  serve(service_at(vip()), to(server(1), ForwardingMethod::kMasquerade, 0));
  serve(service_at(vip(0), Protocol::kUdp), to(server(1, 0)));
  EXPECT_EQ(expect_none(tcp(client(), vip(), kSyn)).kind, Kind::kDrop);
  EXPECT_EQ(expect_none(tcp(client(), vip(), kRst)).kind, Kind::kHost);
  EXPECT_EQ(expect_none(udp(client(), vip(53))).kind, Kind::kDrop);
  EXPECT_EQ(expect_none(tcp(client(), vip(81), kSyn)).kind, Kind::kHost);
  auto cut = tcp(client(), vip(), kSyn);
  cut.resize(20);
  EXPECT_EQ(expect_none(cut).kind, Kind::kDrop);
  Frame arp(60);
  net::store(std::span(arp), 12, be16(0x0806));
  EXPECT_EQ(expect_none(arp).kind, Kind::kHost);
}

TEST_F(DirectorNoAllocation, AFullTable) {
  serve(service_at(vip()), to(server(1)));
  const auto capacity = static_cast<unsigned>(lab_.director.connection_capacity());
  for (unsigned i = 0; i < 3 * capacity; ++i) expect_none(tcp(client(1000 + i), vip(), kSyn));
  EXPECT_EQ(lab_.director.connection_count(), capacity);
}

TEST_F(DirectorNoAllocation, TimeThatPasses) {
  for (unsigned i = 0; i < 20; ++i) {
    serve(service_at(vip(80 + i), Protocol::kTcp, i % 2 == 0 ? "rr" : "lblc"), to(server(1)));
  }
  for (unsigned i = 0; i < 20; ++i) expect_none(tcp(client(), vip(80 + i), kSyn));
  lab_.director.advance(lab_.now);
  const AllocationCounter counter;
  for (int i = 0; i < 100; ++i) {
    lab_.now = lab_.now + std::chrono::seconds(1);
    lab_.director.advance(lab_.now);
  }
  EXPECT_EQ(counter.count(), 0U);
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

}  // namespace
}  // namespace lb::engine
