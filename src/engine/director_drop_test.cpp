// SPDX-License-Identifier: Apache-2.0
// Every way to lose a packet is reached, and counted under its name.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string_view>

#include "engine/snat.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::ForwardingMethod;

void serve(Lab& lab, const model::DestinationSpec& destination) {
  ASSERT_TRUE(lab.director.add_service(service_at(vip())));
  ASSERT_TRUE(lab.director.add_destination(key_of(vip()), destination));
}

void truncated(Lab& lab) {
  serve(lab, to(server(1)));
  auto frame = tcp(client(), vip(), kSyn);
  frame.resize(30);
  lab.process(frame);
}

void bad_header(Lab& lab) {
  serve(lab, to(server(1)));
  auto frame = tcp(client(), vip(), kSyn);
  frame[14 + 8] = std::byte{1};  // the TTL, but not the checksum
  lab.process(frame);
}

void table_full(Lab& lab) {
  serve(lab, to(server(1)));
  for (unsigned port = 1000; lab.dropped(DropReason::kTableFull) == 0 && port < 2000; ++port) {
    lab.process(tcp(client(port), vip(), kSyn));
  }
}

void no_destination(Lab& lab) {
  serve(lab, to(server(1), ForwardingMethod::kMasquerade, 0));
  lab.process(tcp(client(), vip(), kSyn));
}

void destination_removed(Lab& lab) {
  serve(lab, to(server(1)));
  lab.process(tcp(client(), vip(), kSyn));
  ASSERT_TRUE(lab.director.delete_destination(key_of(vip()), server(1)));
  lab.process(tcp(client(), vip(), kAck));
}

void no_scheduling(Lab& lab) {
  ASSERT_TRUE(lab.director.add_service(service_at(vip(0))));
  ASSERT_TRUE(lab.director.add_destination(key_of(vip(0)), to(server(1, 0))));
  lab.process(tcp(client(), vip(), kSyn));
}

void no_key_data(Lab& lab) {
  auto service = service_at(vip(), net::Protocol::kUdp);
  service.flags = model::kServicePersistent;
  service.persistence_engine = "sip";
  ASSERT_TRUE(lab.director.add_service(service));
  ASSERT_TRUE(lab.director.add_destination(service.key, to(server(1))));
  lab.process(udp(client(), vip()));
}

void not_first_packet(Lab& lab) {
  serve(lab, to(server(1)));
  Settings settings;
  settings.nat_icmp_send = 1;
  lab.director.set_settings(settings);
  lab.process(tcp(server(1), client(), kAck), kInside);
}

void ttl_exceeded(Lab& lab) {
  serve(lab, to(server(1)));
  auto packet = between(net::Protocol::kTcp, client(), vip());
  packet.ttl = 1;
  lab.process(tcp(packet, kSyn));
}

void too_big(Lab& lab) {
  serve(lab, to(server(1)));
  lab.process(tcp(client(), vip(), kSyn));
  lab.process(tcp(client(), vip(), kAck, kMtu));
}

void no_route(Lab& lab) {
  serve(lab, to(end("203.0.113.5", 80)));
  lab.process(tcp(client(), vip(), kSyn));
}

void no_headroom(Lab& lab) {
  serve(lab, to(server(1), ForwardingMethod::kTunnel));
  lab.buffer = ReceiveBuffer(0);
  lab.process(tcp(client(), vip(), kSyn));
}

void bad_icmp(Lab& lab) {
  serve(lab, to(server(1)));
  lab.process(tcp(client(), vip(), kSyn));
  auto error = port_unreachable(server(1).address, client().address, lab.sent.at(0));
  error[14 + 20 + 2] ^= std::byte{1};  // the ICMP checksum
  lab.process(error, kInside);
}

// A full list of extra frames has no room for the fragments that a packet without DF needs.
void output_full(Lab& lab) {
  serve(lab, to(server(1)));
  auto packet = between(net::Protocol::kTcp, client(), vip());
  packet.dont_fragment = false;
  packet.payload = pattern(2 * kMtu);
  const auto frame = tcp(packet, kSyn);
  auto received = lab.buffer.receive(frame);
  for (std::size_t i = 0; i < Outputs::kMaxFrames; ++i) {
    ASSERT_FALSE(lab.outputs.reserve(100).empty());
    lab.outputs.commit(Verdict::host());
  }
  lab.director.process(received, kOutside, lab.now, lab.outputs);
}

void drop_packet(Lab& lab) {
  serve(lab, to(server(1)));
  Settings settings;
  settings.drop_packet = 3;
  settings.am_droprate = 2;
  lab.director.set_settings(settings);
  for (unsigned port = 1000; port < 1004; ++port) lab.process(tcp(client(port), vip(), kSyn));
}

void fragment_timeout(Lab& lab) {
  serve(lab, to(server(1)));
  lab.process(fragment_of(tcp(client(), vip(), kSyn, 1000), 0, 512));
  lab.pass(std::chrono::minutes(2));
}

void fragment_overlap(Lab& lab) {
  serve(lab, to(server(1)));
  const auto frame = tcp(client(), vip(), kSyn, 1000);
  lab.process(fragment_of(frame, 0, 512));
  lab.process(fragment_of(frame, 504, 256));
}

void fragment_memory(Lab& lab) {
  serve(lab, to(server(1)));
  auto packet = between(net::Protocol::kUdp, client(), vip());
  packet.payload = pattern(1000);
  for (int i = 0; i < 10000 && lab.dropped(DropReason::kFragmentMemory) == 0; ++i) {
    ++packet.identification;
    lab.process(fragment_of(build(packet), 0, 512));
  }
}

// The world must not reach a loopback address of the director.
void unsupported(Lab& lab) {
  serve(lab, to(end("127.0.0.1", 8080)));
  lab.process(tcp(client(), vip(), kSyn));
}

model::SnatRule snat_rule() {
  model::SnatRule rule;
  rule.name = "out";
  rule.inside = {.address = ip("10.0.0.0"), .length = 16};
  (void)rule.add({ip("192.0.2.20"), ip("192.0.2.20")});
  rule.ports = {5000, 5000};
  return rule;
}

void snat_pool_exhausted(Lab& lab) {
  ASSERT_TRUE(add_snat_rule(lab.director, snat_rule()));
  lab.process(tcp(server(1), client(), kSyn), kInside);
  lab.process(tcp(server(2), client(), kSyn), kInside);
}

void snat_client_limit(Lab& lab) {
  auto rule = snat_rule();
  rule.client_limit = 1;
  ASSERT_TRUE(add_snat_rule(lab.director, rule));
  lab.process(tcp(server(1), client(1), kSyn), kInside);
  lab.process(tcp(server(1), client(2), kSyn), kInside);
}

void snat_no_connection(Lab& lab) {
  ASSERT_TRUE(add_snat_rule(lab.director, snat_rule()));
  lab.process(tcp(client(), end("192.0.2.20", 5000), kSyn));
}

void snat_forged_icmp(Lab& lab) {
  ASSERT_TRUE(add_snat_rule(lab.director, snat_rule()));
  lab.process(tcp(server(1), client(), kSyn), kInside);
  auto about = tcp(end("192.0.2.20", 5000), client(), kSyn);
  about[14 + 20 + 4] ^= std::byte{0x40};  // of the sequence number
  lab.process(port_unreachable(client().address, ip("192.0.2.20"), about));
}

struct Way {
  DropReason reason;
  void (*lose)(Lab& lab);
};

constexpr std::array kWays{
    Way{DropReason::kTruncated, truncated},
    Way{DropReason::kBadHeader, bad_header},
    Way{DropReason::kTableFull, table_full},
    Way{DropReason::kNoDestination, no_destination},
    Way{DropReason::kDestinationRemoved, destination_removed},
    Way{DropReason::kNoScheduling, no_scheduling},
    Way{DropReason::kNoKeyData, no_key_data},
    Way{DropReason::kNotFirstPacket, not_first_packet},
    Way{DropReason::kTtlExceeded, ttl_exceeded},
    Way{DropReason::kTooBig, too_big},
    Way{DropReason::kNoRoute, no_route},
    Way{DropReason::kNoHeadroom, no_headroom},
    Way{DropReason::kBadIcmp, bad_icmp},
    Way{DropReason::kOutputFull, output_full},
    Way{DropReason::kDropPacket, drop_packet},
    Way{DropReason::kFragmentTimeout, fragment_timeout},
    Way{DropReason::kFragmentOverlap, fragment_overlap},
    Way{DropReason::kFragmentMemory, fragment_memory},
    Way{DropReason::kUnsupported, unsupported},
    Way{DropReason::kSnatPoolExhausted, snat_pool_exhausted},
    Way{DropReason::kSnatClientLimit, snat_client_limit},
    Way{DropReason::kSnatNoConnection, snat_no_connection},
    Way{DropReason::kSnatForgedIcmp, snat_forged_icmp},
};

// Not the director's to reach.
const std::map<DropReason, std::string_view> kElsewhere{
    {DropReason::kNoNeighbour, "the data path waits for neighbours; the director says kResolve"},
    {DropReason::kInternal, "stands for a broken invariant"},
};

std::size_t index_of(DropReason reason) { return static_cast<std::size_t>(reason); }

TEST(DropReasons, EachIsReachedAndNoOtherIsCounted) {
  std::array<bool, kDropReasonCount> reached{};
  for (const auto& way : kWays) {
    SCOPED_TRACE(kDropReasonLabels[index_of(way.reason)]);
    Lab lab;
    way.lose(lab);
    reached[index_of(way.reason)] = lab.dropped(way.reason) > 0;
    for (std::size_t other = 0; other < kDropReasonCount; ++other) {
      if (other == index_of(way.reason)) continue;
      EXPECT_EQ(lab.director.counters().dropped[other], 0U) << kDropReasonLabels[other];
    }
  }
  for (std::size_t reason = 0; reason < kDropReasonCount; ++reason) {
    const bool is_elsewhere = kElsewhere.count(static_cast<DropReason>(reason)) != 0;
    EXPECT_NE(reached[reason], is_elsewhere)
        << kDropReasonLabels[reason] << ": a packet lost this way is missing above";
  }
}

TEST(DropReasons, ThoseOfTheDataPathAreCountedWithTheOthers) {
  Lab lab;
  lab.director.count_drop(DropReason::kNoNeighbour);
  EXPECT_EQ(lab.dropped(DropReason::kNoNeighbour), 1U);
}

TEST(DropReasons, SendersLearnOfALossThatTheyCanHelp) {
  struct Told {
    void (*lose)(Lab& lab);
    std::uint8_t type;
    std::uint8_t code;
  };
  for (const auto& told : {Told{ttl_exceeded, 11, 0}, Told{too_big, 3, 4},
                           Told{no_destination, 3, 3}, Told{no_route, 3, 1}}) {
    SCOPED_TRACE(testing::Message() << "type " << int{told.type} << " code " << int{told.code});
    Lab lab;
    told.lose(lab);
    ASSERT_EQ(lab.sent.size(), 1U);
    const auto headers = net::parse_frame(lab.sent[0]);
    ASSERT_TRUE(headers);
    EXPECT_EQ(headers->destination, client().address);
    EXPECT_EQ(headers->icmp_type, told.type);
    EXPECT_EQ(headers->icmp_code, told.code);
    EXPECT_EQ(lab.director.counters().icmp_errors_sent, 1U);
  }
}

}  // namespace
}  // namespace lb::engine
