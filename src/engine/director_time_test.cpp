// SPDX-License-Identifier: Apache-2.0
// Time that passes, jumps and goes back; the same inputs give the same outputs.
#include <gtest/gtest.h>

#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using Kind = Verdict::Kind;

class Time : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(lab_.director.add_service(service_at(vip())));
    ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
    lab_.director.advance(lab_.now);
  }

  void establish(unsigned port) {
    lab_.process(tcp(client(port), vip(), kSyn));
    lab_.process(tcp(server(1), client(port), kSyn | kAck), kInside);
    lab_.process(tcp(client(port), vip(), kAck));
  }

  Lab lab_;
};

TEST_F(Time, AConnectionLivesAsLongAsItsStateAllows) {
  establish(1);
  lab_.process(tcp(client(2), vip(), kSyn));
  lab_.pass(seconds(59));
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  lab_.pass(seconds(2));
  EXPECT_EQ(lab_.director.connection_count(), 1U);  // SYN_RECV: 60 s
  lab_.pass(minutes(13));
  EXPECT_EQ(lab_.process(tcp(client(1), vip(), kAck)).kind, Kind::kSend);
  lab_.pass(minutes(14));
  EXPECT_EQ(lab_.director.connection_count(), 1U);
  lab_.pass(minutes(2));
  EXPECT_EQ(lab_.director.connection_count(), 0U);  // ESTABLISHED: 900 s without a packet
}

TEST_F(Time, ABudgetBoundsTheWorkOfOneCall) {
  for (unsigned i = 0; i < 50; ++i) lab_.process(tcp(client(1001 + i), vip(), kSyn));
  lab_.now = lab_.now + hours(1);
  EXPECT_TRUE(lab_.director.advance(lab_.now, 20));
  EXPECT_GE(lab_.director.connection_count(), 30U);
  int calls = 1;
  while (lab_.director.advance(lab_.now, 20)) ++calls;
  EXPECT_LT(calls, 20);
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

// Timeouts beyond 17 minutes lie in a far wheel, and bringing them to the near one is work as well.
TEST(TimeOfMany, ABudgetAlsoBoundsTheMovingOfFarTimers) {
  constexpr unsigned kCount = 2000;
  constexpr std::size_t kBudget = 50;
  Lab lab({.connection_capacity = kCount, .missing_schedulers = {}});
  ASSERT_TRUE(lab.director.add_service(service_at(vip())));
  ASSERT_TRUE(lab.director.add_destination(key_of(vip()), to(server(1))));
  ASSERT_TRUE(lab.director.set_timeouts({.tcp = 7200, .tcp_fin = 0, .udp = 0}));
  lab.director.advance(lab.now);
  for (unsigned i = 0; i < kCount; ++i) {
    lab.process(tcp(client(1001 + i), vip(), kSyn));
    lab.process(tcp(client(1001 + i), vip(), kAck));
  }
  lab.pass(minutes(2));  // the timers of the SYNs have fired, and are armed for what the ACKs set
  ASSERT_EQ(lab.director.connection_count(), kCount);
  std::size_t repeated = 0;
  for (int minute = 0; minute < 180; ++minute) {
    lab.now = lab.now + minutes(1);
    for (bool more = true; more;) {
      const auto before = lab.director.connection_count();
      more = lab.director.advance(lab.now, kBudget);
      ASSERT_LE(before - lab.director.connection_count(), kBudget);
      if (more) ++repeated;
    }
    if (minute < 115) {
      ASSERT_EQ(lab.director.connection_count(), kCount);
    }
  }
  EXPECT_EQ(lab.director.connection_count(), 0U);
  // Each was moved, and fired.
  EXPECT_GE(repeated, 2 * (kCount / kBudget - 1));
}

TEST_F(Time, RatesStandStillWhileEstimationIsOff) {
  auto settings = lab_.director.settings();
  settings.run_estimation = 0;
  lab_.director.set_settings(settings);
  establish(1);
  lab_.pass(seconds(10));
  for (int i = 0; i < 98; ++i) lab_.process(tcp(client(1), vip(), kAck));
  lab_.pass(seconds(10));
  EXPECT_EQ(lab_.director.totals().rates, model::Rates{});
  settings.run_estimation = 1;
  lab_.director.set_settings(settings);
  lab_.pass(seconds(2));
  // All that was counted meanwhile falls into one interval: 100 packets in 2 s, a quarter of that.
  EXPECT_EQ(lab_.director.totals().rates.packets_in, 12U);
  EXPECT_EQ(lab_.director.service(key_of(vip()))->statistics.rates.packets_in, 12U);
}

// A removed destination keeps its rates until it comes back.
TEST_F(Time, RatesOfARemovedDestinationStandStill) {
  establish(1);
  for (int i = 0; i < 1000; ++i) lab_.process(tcp(client(1), vip(), kAck));
  lab_.pass(seconds(2));
  const auto rate = [this] {
    return lab_.director.destinations(key_of(vip())).at(0).statistics.rates.packets_in;
  };
  const auto before = rate();
  ASSERT_GT(before, 0U);
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip()), server(1)));
  lab_.pass(seconds(20));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  EXPECT_EQ(rate(), before);
  lab_.pass(seconds(2));
  EXPECT_LT(rate(), before);
}

TEST_F(Time, GoingBackLosesNothing) {
  establish(1);
  lab_.now = lab_.now - minutes(30);
  lab_.director.advance(lab_.now);
  EXPECT_EQ(lab_.process(tcp(client(1), vip(), kAck)).kind, Kind::kSend);
  establish(2);
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  lab_.pass(hours(1));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(Time, JumpingFarAheadEndsConnectionsAndTakesNoLonger) {
  establish(1);
  lab_.now = lab_.now + hours(24 * 365 * 50);
  while (lab_.director.advance(lab_.now)) {
  }
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  establish(2);
  lab_.pass(minutes(14));
  EXPECT_EQ(lab_.director.connection_count(), 1U);
  lab_.pass(minutes(2));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(Time, ATemplateOutlivesItsConnections) {
  auto spec = service_at(vip());
  spec.flags = model::kServicePersistent;
  spec.timeout = 600;
  ASSERT_TRUE(lab_.director.edit_service(spec));
  lab_.process(tcp(client(1), vip(), kSyn));
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  lab_.pass(seconds(90));
  EXPECT_EQ(lab_.director.connection_count(), 1U);
  EXPECT_EQ(lab_.connections().at(0).client.port, net::Port{});
  lab_.pass(seconds(600));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

// Everything that leaves in a day of mixed traffic, one frame behind the other.
Frame play() {
  Lab lab({.connection_capacity = 40, .missing_schedulers = {}});
  EXPECT_TRUE(lab.director.add_service(service_at(vip(), net::Protocol::kTcp, "mh")));
  EXPECT_TRUE(lab.director.add_service(service_at(vip(53), net::Protocol::kUdp, "wlc")));
  for (unsigned n = 1; n <= 5; ++n) {
    const auto method =
        n % 2 == 0 ? model::ForwardingMethod::kMasquerade : model::ForwardingMethod::kTunnel;
    EXPECT_TRUE(lab.director.add_destination(key_of(vip()), to(server(n), method)));
    EXPECT_TRUE(lab.director.add_destination(key_of(vip(53), net::Protocol::kUdp),
                                             to(server(n, 53), method)));
  }
  Frame all;
  std::uint32_t number = 1;
  for (int i = 0; i < 2000; ++i) {
    number = number * 1664525 + 1013904223;
    const auto from = client(1001 + (number >> 16U) % 60);
    const auto verdict =
        (number & 0x100U) != 0
            ? lab.process(udp(from, vip(53), number >> 25U))
            : lab.process(tcp(from, vip(), static_cast<std::uint8_t>(number >> 27U)));
    all.push_back(static_cast<std::byte>(verdict.kind));
    all.push_back(static_cast<std::byte>(verdict.reason));
    for (const auto& frame : lab.sent) all.insert(all.end(), frame.begin(), frame.end());
    lab.pass(seconds(number >> 29U));
  }
  EXPECT_GT(lab.director.counters().connections_created, 100U);
  return all;
}

TEST(Determinism, TheSameInputsGiveTheSameOutputs) { EXPECT_EQ(play(), play()); }

}  // namespace
}  // namespace lb::engine
