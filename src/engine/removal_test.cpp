// SPDX-License-Identifier: Apache-2.0
// Servers that drain, connections that are ended, and what their clients hear of it.
#include "engine/removal.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::DrainEnd;
using model::ForwardingMethod;
using Kind = Verdict::Kind;
using std::chrono::seconds;

/// A client's segment with these numbers.
Frame segment(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t flags,
              std::uint32_t sequence, std::uint32_t acknowledgement) {
  auto packet = between(net::Protocol::kTcp, from, to);
  auto bytes = segment_of(packet);
  bytes[13] = std::byte{flags};
  net::store(std::span(bytes), 4, net::Be32::from_host(sequence));
  net::store(std::span(bytes), 8, net::Be32::from_host(acknowledgement));
  seal(packet, bytes, 16);
  return build(packet, bytes);
}

/// What is read of a TCP segment that left.
struct Seen {
  net::Endpoint from, to;
  std::uint32_t sequence = 0;
  std::uint8_t flags = 0;
};

Seen look(const Frame& frame) {
  const auto headers = net::parse_frame(frame);
  EXPECT_TRUE(headers);
  EXPECT_EQ(ChecksumOracle::fault(frame), "");
  const std::span<const std::byte> bytes(frame);
  return {.from = {headers->source, headers->source_port},
          .to = {headers->destination, headers->destination_port},
          .sequence = net::load<net::Be32>(bytes, headers->transport_offset + 4U).to_host(),
          .flags = headers->tcp_flags};
}

class RemovalTest : public testing::Test {
 protected:
  void serve(const net::Endpoint& at, const net::Endpoint& by,
             net::Protocol protocol = net::Protocol::kTcp,
             ForwardingMethod method = ForwardingMethod::kMasquerade) {
    ASSERT_TRUE(lab_.director.add_service(service_at(at, protocol)));
    ASSERT_TRUE(lab_.director.add_destination(key_of(at, protocol), to(by, method)));
  }
  void set(const net::Endpoint& at, const model::ServiceOptions& options,
           net::Protocol protocol = net::Protocol::kTcp) {
    ASSERT_TRUE(set_service_options(lab_.director, key_of(at, protocol), options));
  }
  void remove(const net::Endpoint& at, const net::Endpoint& by,
              net::Protocol protocol = net::Protocol::kTcp) {
    ASSERT_TRUE(lab_.director.delete_destination(key_of(at, protocol), by));
  }
  /// Lets time pass; returns what the director sent by itself.
  std::vector<Frame> pass(Duration duration) {
    lab_.pass(duration);
    std::vector<Frame> sent;
    bool is_more = true;
    while (is_more) {
      lab_.outputs.clear();
      is_more = end_due(lab_.director, lab_.outputs);
      for (const auto& output : lab_.outputs.frames()) {
        sent.emplace_back(output.frame.begin(), output.frame.end());
      }
    }
    return sent;
  }
  Verdict say(std::uint8_t flags, unsigned port = 40000) {
    return lab_.process(tcp(client(port), vip(), flags));
  }
  void open(unsigned port = 40000) {
    ASSERT_EQ(say(kSyn, port).kind, Kind::kSend);
    lab_.process(tcp(server(1), client(port), kSyn | kAck), kInside);
    ASSERT_EQ(say(kAck, port).kind, Kind::kSend);
  }
  std::size_t count() { return lab_.director.connection_count(); }

  Lab lab_;
};

TEST_F(RemovalTest, WithoutOptionsAllIsAsInIpvs) {
  serve(vip(), server(1));
  open();
  remove(vip(), server(1));
  EXPECT_EQ(say(kAck).reason, DropReason::kDestinationRemoved);
  EXPECT_TRUE(pass(seconds(10)).empty());
  EXPECT_EQ(count(), 1U);
}

TEST_F(RemovalTest, ConnectionsOfARemovedServerGoOnWhileItDrains) {
  serve(vip(), server(1));
  set(vip(), {.drain = 30, .drain_end = {}, .reuse_ports = {}, .timeouts = {}});
  open();
  remove(vip(), server(1));
  pass(seconds(29));
  EXPECT_EQ(say(kAck).kind, Kind::kSend);
  EXPECT_EQ(say(kSyn, 41000).kind, Kind::kDrop) << "no new ones";
  pass(seconds(2));
  EXPECT_EQ(say(kAck).reason, DropReason::kDestinationRemoved) << "kept, as in IPVS";
}

TEST_F(RemovalTest, TheSettingIsForServicesThatSayNothing) {
  auto settings = lab_.director.settings();
  settings.drain = 30;
  lab_.director.set_settings(settings);
  serve(vip(), server(1));
  open();
  remove(vip(), server(1));
  EXPECT_EQ(say(kAck).kind, Kind::kSend);
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  set(vip(), {.drain = -1, .drain_end = {}, .reuse_ports = {}, .timeouts = {}});
  remove(vip(), server(1));
  EXPECT_EQ(say(kAck).kind, Kind::kDrop) << "the service says no";
}

TEST_F(RemovalTest, AServerThatComesBackKeepsItsConnections) {
  serve(vip(), server(1));
  set(vip(), {.drain = 10, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
  open();
  remove(vip(), server(1));
  pass(seconds(5));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  EXPECT_TRUE(pass(seconds(20)).empty());
  EXPECT_EQ(say(kAck).kind, Kind::kSend);
}

// The numbers are those of the client's packet, so forwarding methods make no difference.
void expect_reset(Lab& lab, const net::Endpoint& from, const net::Endpoint& at) {
  const auto verdict = lab.process(segment(from, at, kAck, 1000, 0xdeadbeef));
  EXPECT_EQ(verdict.kind, Kind::kDrop);
  EXPECT_EQ(verdict.reason, DropReason::kNotFirstPacket);
  ASSERT_EQ(lab.sent.size(), 1U);
  const auto reset = look(lab.sent[0]);
  EXPECT_EQ(reset.from, at);
  EXPECT_EQ(reset.to, from);
  EXPECT_EQ(reset.flags, kRst);
  EXPECT_EQ(reset.sequence, 0xdeadbeef);
}

TEST_F(RemovalTest, AtTheEndTcpClientsAreProbedAndReset) {
  serve(vip(), server(1));
  set(vip(), {.drain = 10, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
  open();
  remove(vip(), server(1));
  const auto probes = pass(seconds(11));
  ASSERT_EQ(probes.size(), 1U);
  const auto probe = look(probes[0]);
  EXPECT_EQ(probe.from, vip());
  EXPECT_EQ(probe.to, client());
  EXPECT_EQ(probe.flags, kAck);
  EXPECT_EQ(count(), 0U);
  expect_reset(lab_, client(), vip());
  EXPECT_EQ(removal_of(lab_.director).resets, 1U);
  // Nothing is sent about a RST, and nothing about a packet that acknowledges nothing.
  EXPECT_EQ(say(kRst | kAck).kind, Kind::kHost);
  EXPECT_EQ(say(0).kind, Kind::kHost);
}

TEST_F(RemovalTest, AllMethodsAndFamilies) {
  for (const auto method : {ForwardingMethod::kDirectRoute, ForwardingMethod::kTunnel}) {
    for (const bool is_v4 : {true, false}) {
      const auto at = is_v4 ? vip() : vip6();
      const auto by = is_v4 ? server(2, 80) : server6(2, 80);
      const auto from = is_v4 ? client() : client6();
      serve(at, by, net::Protocol::kTcp, method);
      set(at, {.drain = 0, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
      EXPECT_EQ(lab_.process(tcp(from, at, kSyn)).kind, Kind::kSend);
      EXPECT_EQ(lab_.process(tcp(from, at, kAck)).kind, Kind::kSend);
      remove(at, by);
      EXPECT_EQ(pass(seconds(0)).size(), 1U);
      EXPECT_EQ(count(), 0U);
      expect_reset(lab_, from, at);
      ASSERT_TRUE(lab_.director.delete_service(key_of(at)));
    }
  }
}

TEST_F(RemovalTest, AQuiescentServerDrainsToo) {
  serve(vip(), server(1));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  set(vip(), {.drain = 10, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
  const auto quiesce = [&](std::int32_t weight) {
    for (const unsigned n : {1U, 2U}) {
      ASSERT_TRUE(lab_.director.edit_destination(
          key_of(vip()), to(server(n), ForwardingMethod::kMasquerade, n == 1 ? weight : 0)));
    }
  };
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip()), server(2)));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  open();
  quiesce(0);
  pass(seconds(5));
  quiesce(0);  // said again: the time that it has goes on
  EXPECT_EQ(say(kAck).kind, Kind::kSend);
  EXPECT_EQ(pass(seconds(6)).size(), 1U);
  EXPECT_EQ(count(), 0U);
}

TEST_F(RemovalTest, UdpGetsAnotherServer) {
  const auto protocol = net::Protocol::kUdp;
  serve(vip(53), server(1, 53), protocol);
  set(vip(53), {.drain = 10, .drain_end = DrainEnd::kReschedule, .reuse_ports = {}, .timeouts = {}},
      protocol);
  EXPECT_EQ(lab_.process(udp(client(), vip(53))).kind, Kind::kSend);
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip(53), protocol), to(server(2, 53))));
  remove(vip(53), server(1, 53), protocol);
  EXPECT_EQ(lab_.process(udp(client(), vip(53))).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(lab_.sent.at(0))->destination, server(1).address);
  EXPECT_TRUE(pass(seconds(11)).empty()) << "nothing to tell";
  EXPECT_EQ(lab_.process(udp(client(), vip(53))).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(lab_.sent.at(0))->destination, server(2).address);
}

TEST_F(RemovalTest, ReschedulingLeavesTcpAlone) {
  serve(vip(), server(1));
  set(vip(), {.drain = 1, .drain_end = DrainEnd::kReschedule, .reuse_ports = {}, .timeouts = {}});
  open();
  remove(vip(), server(1));
  EXPECT_TRUE(pass(seconds(2)).empty());
  EXPECT_EQ(count(), 1U);
}

TEST_F(RemovalTest, PortsAreReusedAtOnce) {
  serve(vip(), server(1));
  set(vip(), {.drain = 60, .drain_end = {}, .reuse_ports = true, .timeouts = {}});
  open();
  EXPECT_EQ(say(kSyn).kind, Kind::kSend);
  EXPECT_EQ(count(), 1U) << "a server with a weight keeps it";
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  remove(vip(), server(1));
  EXPECT_EQ(say(kAck).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(lab_.sent.at(0))->destination, server(1).address);
  EXPECT_EQ(say(kSyn).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(lab_.sent.at(0))->destination, server(2).address);
  EXPECT_EQ(count(), 1U);
}

TEST_F(RemovalTest, TimeoutsOfAService) {
  serve(vip(), server(1));
  serve(vip(53), server(1, 53), net::Protocol::kUdp);
  set(vip(), {.drain = {},
              .drain_end = {},
              .reuse_ports = {},
              .timeouts = {.tcp = 77, .tcp_fin = 7, .udp = 0}});
  set(vip(53),
      {.drain = {},
       .drain_end = {},
       .reuse_ports = {},
       .timeouts = {.tcp = 0, .tcp_fin = 0, .udp = 5}},
      net::Protocol::kUdp);
  open();
  EXPECT_EQ(lab_.connections().at(0).expires_in, 77U);
  EXPECT_EQ(say(kFin | kAck).kind, Kind::kSend);
  lab_.process(tcp(server(1), client(), kFin | kAck), kInside);
  EXPECT_LE(lab_.connections().at(0).expires_in, 120U);
  lab_.process(udp(client(), vip(53)));
  EXPECT_EQ(count(), 2U);
  pass(seconds(6));
  EXPECT_EQ(count(), 1U);
  // Without the options the director's own hold again.
  set(vip(), {});
  open(41000);
  EXPECT_EQ(lab_.connections().at(1).expires_in, 900U);
}

TEST_F(RemovalTest, EndsWhatIsSelected) {
  serve(vip(), server(1));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  serve(vip(81), server(1, 81));
  for (unsigned port = 1; port <= 4; ++port) EXPECT_EQ(say(kSyn, port).kind, Kind::kSend);
  EXPECT_EQ(lab_.process(tcp(client(9), vip(81), kSyn)).kind, Kind::kSend);
  const auto end = [&](const model::ConnectionSelection& selection) {
    EXPECT_TRUE(end_connections(lab_.director, selection));
    return pass(seconds(0)).size();
  };
  model::ConnectionSelection selection;
  selection.client = ip("203.0.113.1");
  EXPECT_EQ(end(selection), 0U);
  selection = {};
  selection.server = server(1).address;
  selection.server_port = server(1).port;
  EXPECT_EQ(end(selection), 2U);
  EXPECT_EQ(count(), 3U);
  selection.server_port.reset();
  selection.service = key_of(vip());
  EXPECT_EQ(end(selection), 0U);
  selection.service = key_of(vip(81));
  EXPECT_EQ(end(selection), 1U);
  selection = {};
  selection.client = client().address;
  EXPECT_EQ(end(selection), 2U);
  EXPECT_EQ(count(), 0U);
}

// More clients to be told than fit the outputs at once: all are told all the same.
TEST_F(RemovalTest, ManyClients) {
  Lab big({.connection_capacity = 4096, .missing_schedulers = {}});
  ASSERT_TRUE(big.director.add_service(service_at(vip())));
  ASSERT_TRUE(big.director.add_destination(key_of(vip()), to(server(1))));
  for (unsigned port = 1001; port <= 2000; ++port) {
    EXPECT_EQ(big.process(tcp(client(port), vip(), kSyn)).kind, Kind::kSend);
  }
  model::ConnectionSelection selection;
  selection.server = server(1).address;
  ASSERT_TRUE(end_connections(big.director, selection));
  std::size_t probes = 0;
  bool is_more = true;
  for (int calls = 0; is_more; ++calls) {
    ASSERT_LT(calls, 100);
    big.outputs.clear();
    is_more = end_due(big.director, big.outputs);
    probes += big.outputs.frames().size();
  }
  EXPECT_EQ(probes, 1000U);
  EXPECT_EQ(big.director.connection_count(), 0U);
}

TEST_F(RemovalTest, ATemplateOfAnEndedServerSendsNobodyThere) {
  auto spec = service_at(vip());
  spec.flags = model::kServicePersistent;
  spec.timeout = 300;
  ASSERT_TRUE(lab_.director.add_service(spec));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  set(vip(), {.drain = 0, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
  open();
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(2))));
  ASSERT_TRUE(lab_.director.edit_destination(key_of(vip()),
                                             to(server(1), ForwardingMethod::kMasquerade, 0)));
  EXPECT_EQ(pass(seconds(0)).size(), 1U);
  EXPECT_EQ(say(kSyn, 41000).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(lab_.sent.at(0))->destination, server(2).address);
}

TEST_F(RemovalTest, RefusesNonsense) {
  const auto key = key_of(vip());
  const auto code = [&](const model::ServiceOptions& options) {
    const auto result = set_service_options(lab_.director, key, options);
    return result ? 0 : result.error().code;
  };
  EXPECT_EQ(code({}), ESRCH);
  EXPECT_EQ(service_options(lab_.director, key), std::nullopt);
  ASSERT_TRUE(lab_.director.add_service(service_at(vip())));
  EXPECT_EQ(code({.drain = -2, .drain_end = {}, .reuse_ports = {}, .timeouts = {}}), EINVAL);
  EXPECT_EQ(code({.drain = {},
                  .drain_end = {},
                  .reuse_ports = {},
                  .timeouts = {.tcp = UINT32_MAX, .tcp_fin = 0, .udp = 0}}),
            EINVAL);
  model::ConnectionSelection selection;
  selection.server = server(1).address;
  int jobs = 0;
  while (jobs < 1000 && end_connections(lab_.director, selection)) ++jobs;
  EXPECT_LT(jobs, 1000);
}

// A removed server that drains outlives the two minutes after which others are forgotten.
TEST_F(RemovalTest, ADrainingServerIsNotForgotten) {
  serve(vip(), server(1));
  set(vip(), {.drain = 1000, .drain_end = DrainEnd::kReset, .reuse_ports = {}, .timeouts = {}});
  remove(vip(), server(1));
  pass(seconds(900));
  pass(seconds(200));
  pass(seconds(400));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  open();
}

}  // namespace
}  // namespace lb::engine
