// SPDX-License-Identifier: Apache-2.0
// Destinations that fill up, rest, go and come back, and what their connections see of it.
#include <gtest/gtest.h>

#include <map>

#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::ForwardingMethod;
using Kind = Verdict::Kind;

class Destinations : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(lab_.director.add_service(service_at(vip())));
    ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  }

  void set_weight(std::int32_t weight) {
    ASSERT_TRUE(lab_.director.edit_destination(
        key_of(vip()), to(server(1), ForwardingMethod::kMasquerade, weight)));
  }

  [[nodiscard]] model::DestinationInfo first() const {
    return lab_.director.destinations(key_of(vip())).at(0);
  }

  Lab lab_;
};

TEST_F(Destinations, AFullTableTurnsAwayNewClientsOnly) {
  const auto capacity = static_cast<unsigned>(lab_.director.connection_capacity());
  for (unsigned i = 0; i < capacity; ++i) {
    EXPECT_EQ(lab_.process(tcp(client(1000 + i), vip(), kSyn)).kind, Kind::kSend);
  }
  for (unsigned i = 0; i < 10; ++i) {
    const auto verdict = lab_.process(tcp(client(100 + i), vip(), kSyn));
    EXPECT_EQ(verdict.kind, Kind::kDrop);
    EXPECT_EQ(verdict.reason, DropReason::kTableFull);
  }
  EXPECT_EQ(lab_.dropped(DropReason::kTableFull), 10U);
  EXPECT_EQ(lab_.director.connection_count(), capacity);
  EXPECT_EQ(lab_.director.connection_capacity(), capacity);
  EXPECT_EQ(lab_.process(tcp(client(1000), vip(), kAck)).kind, Kind::kSend);
  EXPECT_EQ(first().inactive_connections + first().active_connections, capacity);

  lab_.pass(std::chrono::hours(1));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  EXPECT_EQ(lab_.process(tcp(client(100), vip(), kSyn)).kind, Kind::kSend);
}

TEST_F(Destinations, ALimitOfConnectionsTurnsAwayNewClientsOnly) {
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(lab_.process(tcp(client(1000 + i), vip(), kSyn)).kind, Kind::kSend);
  }
  Settings settings;
  settings.conn_max = 3;
  lab_.director.set_settings(settings);
  EXPECT_EQ(lab_.process(tcp(client(100), vip(), kSyn)).reason, DropReason::kTableFull);
  EXPECT_EQ(lab_.process(tcp(client(1000), vip(), kAck)).kind, Kind::kSend);
  settings.conn_max = 4;
  lab_.director.set_settings(settings);
  EXPECT_EQ(lab_.process(tcp(client(100), vip(), kSyn)).kind, Kind::kSend);
}

TEST_F(Destinations, AQuiescentOneKeepsItsConnections) {
  EXPECT_EQ(lab_.process(tcp(client(), vip(), kSyn)).kind, Kind::kSend);
  set_weight(0);
  EXPECT_EQ(lab_.process(tcp(client(), vip(), kAck)).kind, Kind::kSend);
  EXPECT_EQ(lab_.process(tcp(server(1), client(), kSyn | kAck), kInside).kind, Kind::kSend);
  EXPECT_EQ(lab_.process(tcp(client(1), vip(), kSyn)).reason, DropReason::kNoDestination);
  set_weight(1);
  EXPECT_EQ(lab_.process(tcp(client(1), vip(), kSyn)).kind, Kind::kSend);
}

TEST_F(Destinations, ARemovedOneComesBackWithItsConnectionsAndCounters) {
  lab_.process(tcp(client(), vip(), kSyn));
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip()), server(1)));
  EXPECT_EQ(lab_.process(tcp(client(), vip(), kAck)).reason, DropReason::kDestinationRemoved);
  EXPECT_EQ(lab_.director.connection_count(), 1U);

  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  EXPECT_EQ(first().inactive_connections + first().active_connections, 1U);
  EXPECT_EQ(first().statistics.counters.connections, 1U);
  EXPECT_EQ(lab_.process(tcp(client(), vip(), kAck)).kind, Kind::kSend);
  EXPECT_EQ(lab_.director.connection_count(), 1U);
}

TEST_F(Destinations, ARemovedOneIsForgottenTwoMinutesAfterItsLastConnection) {
  lab_.process(tcp(client(), vip(), kSyn));
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip()), server(1)));
  lab_.pass(std::chrono::hours(1));
  for (int minute = 0; minute < 4; ++minute) lab_.pass(std::chrono::minutes(1));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  EXPECT_EQ(first().statistics.counters.connections, 0U);
}

TEST_F(Destinations, OrphansGoAtOnceIfTheAdministratorWantsIt) {
  Settings settings;
  settings.expire_nodest_conn = 1;
  lab_.director.set_settings(settings);
  lab_.process(tcp(client(), vip(), kSyn));
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip()), server(1)));
  lab_.pass(std::chrono::seconds(1));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(Destinations, OneOverItsUpperThresholdRestsUntilTheLowerIsPassed) {
  auto spec = to(server(1));
  spec.upper_threshold = 4;
  spec.lower_threshold = 2;
  ASSERT_TRUE(lab_.director.edit_destination(key_of(vip()), spec));
  for (unsigned i = 0; i < 4; ++i) {
    EXPECT_EQ(lab_.process(tcp(client(1001 + i), vip(), kSyn)).kind, Kind::kSend);
  }
  EXPECT_EQ(lab_.process(tcp(client(9), vip(), kSyn)).reason, DropReason::kNoDestination);
  // The first three close; ten seconds later they are gone and one is left, which is below two.
  for (unsigned i = 0; i < 3; ++i) {
    lab_.process(tcp(server(1), client(1001 + i), kRst), kInside);
  }
  lab_.pass(std::chrono::seconds(11));
  EXPECT_EQ(lab_.director.connection_count(), 1U);
  EXPECT_EQ(lab_.process(tcp(client(9), vip(), kSyn)).kind, Kind::kSend);
}

TEST_F(Destinations, CountsAgreeWithTheConnectionsListed) {
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  for (unsigned i = 0; i < 30; ++i) {
    lab_.process(tcp(client(1001 + i), vip(), kSyn));
    if (i % 3 == 0) {
      lab_.process(tcp(server(1 + (i + 1) % 2), client(1001 + i), kSyn | kAck), kInside);
      lab_.process(tcp(client(1001 + i), vip(), kAck));
    }
  }
  std::map<net::Endpoint, std::uint32_t> listed;
  for (const auto& connection : lab_.connections()) ++listed[connection.destination];
  for (const auto& info : lab_.director.destinations(key_of(vip()))) {
    EXPECT_EQ(info.active_connections + info.inactive_connections,
              (listed[{info.spec.address, info.spec.port}]));
    EXPECT_EQ(info.statistics.counters.connections, 15U);
  }
  EXPECT_EQ(lab_.director.totals().counters.connections, 30U);
}

TEST_F(Destinations, GoneServicesLeaveTheirConnectionsToTheHost) {
  lab_.process(tcp(client(), vip(), kSyn));
  lab_.director.flush();
  EXPECT_EQ(lab_.process(tcp(client(), vip(), kAck)).kind, Kind::kHost);
  lab_.pass(std::chrono::hours(1));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

}  // namespace
}  // namespace lb::engine
