// SPDX-License-Identifier: Apache-2.0
// What XDP does with packets of new flows while no engine takes them, as the kernel runs it, and
// what the next engine makes of it.
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "engine/testing/lab.hpp"
#include "program_run.hpp"

namespace lb::tests {
namespace {

using namespace engine::test;
using datapath::SteeringMaps;
using datapath::SteerProgram;
using model::ForwardingMethod;

constexpr std::uint32_t kNotes = 64;
constexpr unsigned kServers = 4;
constexpr unsigned kCapacity = 1024;

class StandIn : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = SteerProgram::load(1024, 1024, nullptr, {.slots = 1U << 14, .notes = kNotes});
    if (!loaded && ::geteuid() != 0) GTEST_SKIP() << loaded.error();
    ASSERT_TRUE(loaded) << loaded.error();
    program_ = std::move(*loaded);
    steering_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                               [](datapath::LogLevel, std::string_view) {});
    auto memory = program_->flow_memory();
    memory.time_origin = started_.time_since_epoch() - lab_.now.since_start;
    settings_ = memory.settings;
    lab_.director.start_fast_path(memory);
    lab_.director.set_steering_listener(steering_.get());
    // A test run comes in by the loopback device, which is number 1, as the outside is here.
    ASSERT_TRUE(program_->set_flow_device(1, engine::test::kOutside));
    ASSERT_TRUE(program_->set_flow_device(2, engine::test::kOutside));
    lab_.director.add_fast_device(engine::test::kOutside, 1, true);
    lab_.director.add_fast_device(engine::test::kInside, 2, true);
  }

  void TearDown() override {
    if (program_ == nullptr) return;
    lab_.director.set_steering_listener(nullptr);
    lab_.director.stop_fast_path();
  }

  void add(const net::Endpoint& service, ForwardingMethod method,
           net::Protocol protocol = net::Protocol::kTcp, std::uint32_t flags = 0) {
    auto spec = service_at(service, protocol);
    spec.flags = flags;
    spec.timeout = 300;
    ASSERT_TRUE(lab_.director.add_service(spec));
    for (unsigned n = 1; n <= kServers; ++n) {
      const auto port = service.port.to_host();
      ASSERT_TRUE(lab_.director.add_destination(
          key_of(service, protocol),
          to(service.address.is_v4() ? server(n, port) : server6(n, port), method)));
    }
    publish();
  }
  void publish() {
    catch_up();
    pass(std::chrono::milliseconds(100));
  }
  /// The engine's clock is the machine's, or a bit ahead of it.
  void catch_up() { pass({}); }
  void pass(Duration more) {
    ahead_ += more;
    lab_.now = {std::chrono::hours(1) + (std::chrono::steady_clock::now() - started_) + ahead_};
    lab_.director.advance(lab_.now);
  }

  ProgramRun<Frame> run(const Frame& frame) { return run_program(program_->xdp_program(), frame); }
  /// The number of the server that XDP sent a frame to; 0: to none.
  unsigned server_of(const Frame& frame) {
    const auto result = run(frame);
    if (result.action != XDP_REDIRECT && result.action != XDP_TX) return 0;
    return std::to_integer<unsigned>(result.frame[5]);  // the lab's hardware addresses
  }
  [[nodiscard]] std::uint64_t counted(steer_counter which) const {
    return program_->counters()[which];
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  Duration ahead_{};
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  flow_settings* settings_ = nullptr;
  Lab lab_{{.connection_capacity = kCapacity, .missing_schedulers = {}}};
};

TEST_F(StandIn, SpreadsNewConnectionsAndKeepsEachAtItsServer) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  add(vip6(80), ForwardingMethod::kDirectRoute);
  std::map<unsigned, int> servers;
  for (unsigned port = 1000; port < 1016; ++port) {
    for (const auto& [from, service] :
         {std::pair{client(port), vip(80)}, std::pair{client6(port), vip6(80)}}) {
      const auto chosen = server_of(tcp(from, service, net::kTcpSyn));
      ASSERT_NE(chosen, 0U);
      ++servers[chosen];
      EXPECT_EQ(server_of(tcp(from, service, net::kTcpAck, 10)), chosen);
      EXPECT_EQ(server_of(tcp(from, service, net::kTcpSyn)), chosen);
      EXPECT_EQ(server_of(tcp(from, service, net::kTcpFin | net::kTcpAck)), chosen);
    }
  }
  EXPECT_EQ(servers.size(), kServers);
  EXPECT_EQ(counted(STEER_STOOD_IN), 32U * 4);
}

TEST_F(StandIn, LeavesWhatTheEngineMayKnowAlone) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  EXPECT_EQ(run(tcp(client(1), vip(80), net::kTcpAck, 10)).action, XDP_DROP);
  EXPECT_EQ(run(tcp(client(1), vip(80), net::kTcpFin | net::kTcpAck)).action, XDP_DROP);
  EXPECT_EQ(run(tcp(client(1), vip(80), net::kTcpRst)).action, XDP_DROP);
  EXPECT_EQ(counted(STEER_DROP_NO_SOCKET), 3U);
  EXPECT_EQ(run(tcp(client(1), vip(81), net::kTcpSyn)).action, XDP_PASS);
}

TEST_F(StandIn, TheNextEngineHasTheConnections) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  add(vip(81), ForwardingMethod::kMasquerade);
  add(vip(82), ForwardingMethod::kTunnel);
  add(vip(53), ForwardingMethod::kDirectRoute, net::Protocol::kUdp);
  std::map<unsigned, unsigned> chosen;
  for (const unsigned service : {80U, 81U, 82U}) {
    chosen[service] = server_of(tcp(client(service), vip(service), net::kTcpSyn));
    server_of(tcp(client(service), vip(service), net::kTcpAck));
  }
  chosen[53] = server_of(udp(client(53), vip(53)));
  server_of(tcp(client(5), vip(80), net::kTcpSyn));
  server_of(tcp(client(6), vip(80), net::kTcpSyn));
  server_of(tcp(client(6), vip(80), net::kTcpRst));
  catch_up();
  std::map<unsigned, std::string> states;
  for (const auto& each : lab_.connections()) {
    const auto port = each.client.port.to_host();
    states[port] = each.state.view();
    if (chosen.contains(port)) {
      EXPECT_EQ(each.destination.address, server(chosen[port]).address);
    }
    EXPECT_GT(each.expires_in, 0);
  }
  const std::map<unsigned, std::string> expected{{80, "ESTABLISHED"}, {81, "ESTABLISHED"},
                                                 {82, "ESTABLISHED"}, {53, "UDP"},
                                                 {5, "SYN_RECV"},     {6, "FIN_WAIT"}};
  EXPECT_EQ(states, expected);
  const auto status = lab_.director.stand_in_status();
  EXPECT_EQ(status.noted, 6U);
  EXPECT_EQ(status.adopted, 6U);
  EXPECT_EQ(status.lost, 0U);
  for (const auto& key : lab_.director.service_keys()) {
    EXPECT_EQ(lab_.director.service(key)->statistics.counters.connections,
              key.port.to_host() == 80 ? 3U : 1U);
  }
}

TEST_F(StandIn, APacketThatComesBeforeItsNoteIsTakenFindsIt) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  const auto chosen = server_of(tcp(client(9), vip(80), net::kTcpSyn));
  const auto verdict = lab_.process(tcp(client(9), vip(80), net::kTcpAck, 10));
  EXPECT_EQ(verdict.kind, engine::Verdict::Kind::kSend);
  ASSERT_EQ(lab_.connections().size(), 1U);
  EXPECT_EQ(lab_.connections()[0].destination.address, server(chosen).address);
}

TEST_F(StandIn, GoesOnByTheTableWhenThereIsNoRoomForNotes) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  std::map<unsigned, unsigned> chosen;
  for (unsigned port = 1; port <= 4 * kNotes; ++port) {
    chosen[port] = server_of(tcp(client(port), vip(80), net::kTcpSyn));
    ASSERT_NE(chosen[port], 0U);
  }
  for (const auto& [port, server] : chosen) {
    EXPECT_EQ(server_of(tcp(client(port), vip(80), net::kTcpAck, 10)), server);
  }
  catch_up();
  EXPECT_GT(lab_.director.stand_in_status().full, 2 * kNotes);
  // Those without a note become connections with their next packet.
  for (const auto& [port, number] : chosen) {
    lab_.process(tcp(client(port), vip(80), net::kTcpAck, 10));
  }
  const auto connections = lab_.connections();
  EXPECT_EQ(connections.size(), chosen.size());
  for (const auto& each : connections) {
    EXPECT_EQ(each.destination.address, server(chosen[each.client.port.to_host()]).address);
    EXPECT_EQ(each.state.view(), "ESTABLISHED");
  }
}

TEST_F(StandIn, TheTableBeforeAChangeIsRememberedForThoseWithoutANote) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  std::map<unsigned, unsigned> chosen;
  for (unsigned port = 1; port <= 4 * kNotes; ++port) {
    chosen[port] = server_of(tcp(client(port), vip(80), net::kTcpSyn));
  }
  pass(std::chrono::milliseconds(1200));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip(80)),
                                            to(server(9, 80), ForwardingMethod::kDirectRoute, 4)));
  publish();
  for (const auto& [port, number] : chosen) {
    lab_.process(tcp(client(port), vip(80), net::kTcpAck, 10));
  }
  for (const auto& each : lab_.connections()) {
    EXPECT_EQ(each.destination.address, server(chosen[each.client.port.to_host()]).address);
  }
  EXPECT_EQ(lab_.connections().size(), chosen.size());
}

TEST_F(StandIn, AServerOfTwoServicesGetsNoNewConnectionsByNat) {
  add(vip(80), ForwardingMethod::kMasquerade);
  EXPECT_NE(server_of(tcp(client(1), vip(80), net::kTcpSyn)), 0U);
  ASSERT_TRUE(lab_.director.add_service(service_at(vip(90))));
  for (unsigned n = 1; n <= kServers; ++n) {
    ASSERT_TRUE(lab_.director.add_destination(key_of(vip(90)), to(server(n, 80))));
  }
  publish();  // and the other service learns that it has them no longer to itself
  publish();
  EXPECT_EQ(server_of(tcp(client(2), vip(80), net::kTcpSyn)), 0U);
  EXPECT_EQ(server_of(tcp(client(2), vip(90), net::kTcpSyn)), 0U);
  ASSERT_TRUE(lab_.director.delete_service(key_of(vip(90))));
  publish();
  EXPECT_NE(server_of(tcp(client(2), vip(80), net::kTcpSyn)), 0U);
}

TEST_F(StandIn, FollowsWeightsAndLeavesQuiescentServersOut) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  for (unsigned n = 2; n <= kServers; ++n) {
    ASSERT_TRUE(lab_.director.edit_destination(
        key_of(vip(80)), to(server(n, 80), ForwardingMethod::kDirectRoute, 0)));
  }
  publish();
  for (unsigned port = 1; port < 20; ++port) {
    EXPECT_EQ(server_of(tcp(client(port), vip(80), net::kTcpSyn)), 1U);
  }
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip(80)), server(1, 80)));
  publish();
  EXPECT_EQ(server_of(tcp(client(50), vip(80), net::kTcpSyn)), 0U);
  EXPECT_EQ(lab_.director.stand_in_status().tables, 0U);
}

TEST_F(StandIn, APersistentClientStaysAtOneServer) {
  add(vip(80), ForwardingMethod::kDirectRoute, net::Protocol::kTcp, model::kServicePersistent);
  const auto chosen = server_of(tcp(client(1), vip(80), net::kTcpSyn));
  for (unsigned port = 2; port < 10; ++port) {
    EXPECT_EQ(server_of(tcp(client(port), vip(80), net::kTcpSyn)), chosen);
  }
  catch_up();
  // And with the next engine, by the template.
  lab_.process(tcp(client(100), vip(80), net::kTcpSyn));
  const auto connections = lab_.connections();
  EXPECT_EQ(connections.size(), 11U);
  for (const auto& each : connections) {
    EXPECT_EQ(each.destination.address, server(chosen).address);
  }
}

// Nine of ten are the limit (see director_upkeep.cpp).
constexpr unsigned kNearlyFull = kCapacity - kCapacity / 10;
constexpr unsigned kFirst = 100;  // port 20 is no client's (FTP)

TEST_F(StandIn, TakesNewFlowsOffAnEngineWithoutRoom) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  ASSERT_TRUE(lab_.director.add_service(service_at(vip(81))));  // without a table
  for (unsigned port = kFirst; port < kFirst + kNearlyFull - 1; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
  }
  catch_up();
  EXPECT_FALSE(lab_.director.stand_in_status().is_table_full);
  lab_.process(tcp(client(4000), vip(80), net::kTcpSyn));
  catch_up();
  EXPECT_TRUE(lab_.director.stand_in_status().is_table_full);
  // Nobody listens here, but that is not asked: then there would be a note.
  const auto chosen = server_of(tcp(client(5000), vip(80), net::kTcpSyn));
  ASSERT_NE(chosen, 0U);
  EXPECT_EQ(lab_.director.stand_in_status().noted, 0U);
  // There is room for a client that answers its server.
  catch_up();
  EXPECT_TRUE(lab_.director.stand_in_status().is_active);
  EXPECT_EQ(lab_.director.stand_in_status().times, 1U);
  lab_.process(tcp(client(5000), vip(80), net::kTcpAck, 10));
  const auto connections = lab_.connections();
  const auto made = std::find_if(connections.begin(), connections.end(),
                                 [](const auto& each) { return each.client == client(5000); });
  ASSERT_NE(made, connections.end());
  EXPECT_EQ(made->destination.address, server(chosen).address);
  EXPECT_EQ(made->state.view(), "ESTABLISHED");
  // Where there is no table the engine is tried, as long as the limit allows it.
  EXPECT_EQ(run(tcp(client(5001), vip(81), net::kTcpSyn)).action, XDP_DROP);
  EXPECT_EQ(counted(STEER_DROP_NO_SOCKET), 1U);
  EXPECT_EQ(counted(STEER_DROP_LIMIT), 0U);
}

TEST_F(StandIn, TheLimitHoldsWhereThereIsNoTable) {
  auto settings = lab_.director.settings();
  settings.punt_limit = 1;
  lab_.director.set_settings(settings);
  ASSERT_TRUE(lab_.director.add_service(service_at(vip(81))));
  for (unsigned port = kFirst; port < kFirst + kNearlyFull; ++port) {
    lab_.process(tcp(client(port), vip(81), net::kTcpSyn));
  }
  catch_up();
  for (unsigned port = 5000; port < 5010; ++port) run(tcp(client(port), vip(81), net::kTcpSyn));
  EXPECT_GT(counted(STEER_DROP_LIMIT), 5U);
}

TEST_F(StandIn, HalfOpenConnectionsMakeRoomAndOthersDoNot) {
  add(vip(80), ForwardingMethod::kMasquerade);
  constexpr unsigned kOpen = 10;  // fewer than are looked at for one
  for (unsigned port = kFirst; port < kFirst + kOpen; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
    lab_.process(tcp(client(port), vip(80), net::kTcpAck));
  }
  catch_up();
  for (unsigned port = 1000; port < 1000 + 3 * kCapacity; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
  }
  EXPECT_EQ(lab_.director.connection_count(), kCapacity);
  EXPECT_EQ(lab_.director.stand_in_status().given_up, 3 * kCapacity + kOpen - kCapacity);
  std::size_t established = 0;
  std::set<unsigned> half_open;
  for (const auto& each : lab_.connections()) {
    if (each.state.view() == "ESTABLISHED") ++established;
    if (each.state.view() == "SYN_RECV") half_open.insert(each.client.port.to_host());
  }
  EXPECT_EQ(established, kOpen);
  // The oldest went first.
  EXPECT_EQ(*half_open.begin(), 1000 + 3 * kCapacity - (kCapacity - kOpen));
  // Of the servers' counts nothing is left behind.
  std::uint64_t counted = 0;
  for (const auto& each : lab_.director.destinations(key_of(vip(80)))) {
    counted += each.active_connections + each.inactive_connections;
  }
  EXPECT_EQ(counted, kCapacity);
}

TEST_F(StandIn, ATableFullOfOthersStaysFull) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  for (unsigned port = kFirst; port < kFirst + kCapacity; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
    lab_.process(tcp(client(port), vip(80), net::kTcpAck));
  }
  catch_up();
  EXPECT_EQ(lab_.process(tcp(client(9000), vip(80), net::kTcpSyn)).reason,
            engine::DropReason::kTableFull);
  EXPECT_EQ(lab_.director.stand_in_status().given_up, 0U);
}

TEST_F(StandIn, WithoutALimitNothingIsGivenUp) {
  auto settings = lab_.director.settings();
  settings.punt_limit = 0;
  lab_.director.set_settings(settings);
  add(vip(80), ForwardingMethod::kDirectRoute);
  for (unsigned port = kFirst; port < kFirst + kCapacity; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
  }
  catch_up();
  EXPECT_FALSE(lab_.director.stand_in_status().is_table_full);
  EXPECT_EQ(lab_.process(tcp(client(9000), vip(80), net::kTcpSyn)).reason,
            engine::DropReason::kTableFull);
}

TEST_F(StandIn, UdpFlowsOfOnePacketMakeRoomThoseThatGoOnDoNot) {
  add(vip(53), ForwardingMethod::kMasquerade, net::Protocol::kUdp);
  for (unsigned port = kFirst; port < kFirst + 20; ++port) {
    for (int i = 0; i < 2; ++i) lab_.process(udp(client(port), vip(53)));
  }
  catch_up();
  for (unsigned port = 1000; port < 1000 + 2 * kCapacity; ++port) {
    lab_.process(udp(client(port), vip(53)));
  }
  EXPECT_EQ(lab_.director.connection_count(), kCapacity);
  std::size_t old = 0;
  for (const auto& each : lab_.connections())
    old += each.client.port.to_host() < kFirst + 20 ? 1 : 0;
  EXPECT_EQ(old, 20U);
}

TEST_F(StandIn, GoesOnWhenTheEngineIsGone) {
  add(vip(80), ForwardingMethod::kDirectRoute);
  const auto chosen = server_of(tcp(client(1), vip(80), net::kTcpSyn));
  EXPECT_NE(chosen, 0U);  // nobody listens
  lab_.director.stop_fast_path();
  settings_->alive = 1;
  EXPECT_EQ(server_of(tcp(client(1), vip(80), net::kTcpAck)), chosen);
  EXPECT_NE(server_of(tcp(client(2), vip(80), net::kTcpSyn)), 0U);
}

}  // namespace
}  // namespace lb::tests
