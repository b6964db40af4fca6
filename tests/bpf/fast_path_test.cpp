// SPDX-License-Identifier: Apache-2.0
// The fast path does what the engine does. Two directors get the same packets: one alone, one
// with the XDP program before it, which the kernel runs. What leaves must be the same, byte for
// byte, and so must the counters be.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <random>

#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "engine/snat.hpp"
#include "engine/testing/lab.hpp"
#include "fast_path_run.hpp"

namespace lb::tests {
namespace {

using datapath::SteeringMaps;
using datapath::SteerProgram;
using engine::DirectorOptions;
using engine::InterfaceId;
using engine::Verdict;
using engine::test::Frame;
using engine::test::kInside;
using engine::test::kOutside;
using engine::test::Lab;
using model::ForwardingMethod;
using net::Protocol;

constexpr std::uint16_t kInsideSlot = 3;

/// A service of every kind that connections are forwarded for.
struct Kind {
  net::Endpoint virtual_end;
  Protocol protocol = Protocol::kTcp;
  ForwardingMethod method = ForwardingMethod::kMasquerade;
  net::Endpoint server;
  model::TunnelSpec tunnel = {};
};

model::TunnelSpec tunnel_of(model::TunnelType type) {
  return {.type = type,
          .port = type == model::TunnelType::kGue ? engine::test::port_of(6080) : net::Port{},
          .flags = 0};
}

std::vector<Kind> all_kinds() {
  using engine::test::server;
  using engine::test::server6;
  using engine::test::vip;
  using engine::test::vip6;
  std::vector<Kind> kinds;
  unsigned port = 100;
  unsigned number = 1;
  const auto add = [&](Protocol protocol, ForwardingMethod method, model::TunnelSpec tunnel = {}) {
    for (const bool is_v6 : {false, true}) {
      for (const bool is_far_v6 : {false, true}) {
        if (is_v6 != is_far_v6 && method != ForwardingMethod::kTunnel) continue;
        const auto real_port = method == ForwardingMethod::kMasquerade ? 8080 : port;
        kinds.push_back(
            {.virtual_end = is_v6 ? vip6(port) : vip(port),
             .protocol = protocol,
             .method = method,
             .server = is_far_v6 ? server6(number, real_port) : server(number, real_port),
             .tunnel = tunnel});
        ++port;
        number = number % 16 + 1;
      }
    }
  };
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp}) {
    add(protocol, ForwardingMethod::kMasquerade);
    add(protocol, ForwardingMethod::kDirectRoute);
    for (const auto type :
         {model::TunnelType::kIpip, model::TunnelType::kGre, model::TunnelType::kGue}) {
      add(protocol, ForwardingMethod::kTunnel, tunnel_of(type));
    }
  }
  add(Protocol::kSctp, ForwardingMethod::kMasquerade);
  add(Protocol::kSctp, ForwardingMethod::kDirectRoute);
  // A server on the director itself.
  kinds.push_back({.virtual_end = vip(port++),
                   .protocol = Protocol::kTcp,
                   .method = ForwardingMethod::kMasquerade,
                   .server = engine::test::end("10.0.0.1", 8080)});
  kinds.push_back({.virtual_end = vip(port),
                   .protocol = Protocol::kUdp,
                   .method = ForwardingMethod::kDirectRoute,
                   .server = engine::test::end("10.0.0.1", port)});
  return kinds;
}

void configure(Lab& lab, const std::vector<Kind>& kinds) {
  for (const auto& kind : kinds) {
    ASSERT_TRUE(
        lab.director.add_service(engine::test::service_at(kind.virtual_end, kind.protocol)));
    auto spec = engine::test::to(kind.server, kind.method);
    spec.tunnel = kind.tunnel;
    ASSERT_TRUE(
        lab.director.add_destination(engine::test::key_of(kind.virtual_end, kind.protocol), spec));
  }
}

class FastPath : public ::testing::Test {
 protected:
  static constexpr DirectorOptions kOptions{.connection_capacity = 4096, .missing_schedulers = {}};

  void SetUp() override {
    auto loaded = SteerProgram::load(1024, kOptions.connection_capacity);
    if (!loaded && ::geteuid() != 0) GTEST_SKIP() << loaded.error();
    ASSERT_TRUE(loaded) << loaded.error();
    program_ = std::move(*loaded);
    steering_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                               [](datapath::LogLevel, std::string_view) {});
    auto memory = program_->flow_memory();
    memory.time_origin = started_.time_since_epoch() - plain_.now.since_start;
    memory.control = nullptr;  // no socket listens: XDP would stand in for the engine at once
    fast_.director.start_fast_path(memory);
    fast_.director.set_steering_listener(steering_.get());
    // A test run comes in by the loopback device, which is number 1.
    ASSERT_TRUE(program_->set_flow_device(1, kOutside));
    ASSERT_TRUE(program_->set_flow_device(kInsideSlot, kOutside));
    fast_.director.add_fast_device(kOutside, 1, true);
    fast_.director.add_fast_device(kInside, kInsideSlot, true);
    configure(plain_, kinds_);
    configure(fast_, kinds_);
  }

  void TearDown() override {
    if (program_ == nullptr) return;
    fast_.director.set_steering_listener(nullptr);
    fast_.director.stop_fast_path();
  }

  /// Sends a frame through both; true if XDP forwarded it. `ingress` as the engine sees it.
  bool send(const Frame& frame, InterfaceId ingress = kOutside) {
    const auto passed = std::chrono::steady_clock::now() - started_;
    plain_.now = fast_.now = {std::chrono::hours(1) + passed};
    for (auto* lab : {&plain_, &fast_}) lab->director.advance(lab->now);
    const auto expected = plain_.process(frame, ingress);
    auto sent = plain_.sent;
    const auto in_kernel = run(*program_, frame);
    SCOPED_TRACE("verdict " + std::to_string(static_cast<int>(expected.kind)) + ", frame " +
                 hex(frame));
    if (!in_kernel.is_forwarded) {
      EXPECT_EQ(fast_.process(frame, ingress).kind, expected.kind);
      compare(fast_.sent, sent);
      return false;
    }
    if (expected.kind == Verdict::Kind::kHost) {
      EXPECT_EQ(in_kernel.action, XDP_PASS);
    } else {
      EXPECT_EQ(expected.kind, Verdict::Kind::kSend);
      EXPECT_EQ(in_kernel.action, expected.out == kOutside ? XDP_TX : XDP_REDIRECT);
    }
    compare({in_kernel.frame}, sent);
    return true;
  }

  static std::string hex(const Frame& frame) {
    std::string text;
    for (const auto byte : frame) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return text;
  }
  static void compare(const std::vector<Frame>& is, const std::vector<Frame>& should_be) {
    std::string left;
    std::string right;
    for (auto frame : is) left += (forget_identification(frame), hex(frame)) + "\n";
    for (auto frame : should_be) right += (forget_identification(frame), hex(frame)) + "\n";
    EXPECT_EQ(left, right);
  }

  void open(const Kind& kind, const net::Endpoint& client) {
    using namespace engine::test;
    if (kind.protocol == Protocol::kTcp) {
      send(tcp(client, kind.virtual_end, net::kTcpSyn));
      if (kind.method == ForwardingMethod::kMasquerade) {
        send(tcp(kind.server, client, net::kTcpSyn | net::kTcpAck));
      }
      send(tcp(client, kind.virtual_end, net::kTcpAck));
    } else if (kind.protocol == Protocol::kSctp) {
      for (const std::uint8_t chunk : {std::uint8_t{1}, std::uint8_t{10}})
        send(sctp(client, kind.virtual_end, chunk));
      send(sctp(kind.server, client, 2));
      send(sctp(kind.server, client, 11));
      for (int i = 0; i < 2; ++i) send(sctp(client, kind.virtual_end, 0));
    } else {
      for (int i = 0; i < 3; ++i) send(udp(client, kind.virtual_end));
    }
    if (kind.method == ForwardingMethod::kMasquerade) send(answer(kind, client));
  }

  static Frame request(const Kind& kind, const net::Endpoint& client, std::size_t payload = 100) {
    return data(kind.protocol, client, kind.virtual_end, payload);
  }
  static Frame answer(const Kind& kind, const net::Endpoint& client, std::size_t payload = 100) {
    return data(kind.protocol, kind.server, client, payload);
  }
  static Frame data(Protocol protocol, const net::Endpoint& from, const net::Endpoint& to,
                    std::size_t payload) {
    using namespace engine::test;
    if (protocol == Protocol::kTcp) return tcp(from, to, net::kTcpAck, payload);
    return protocol == Protocol::kUdp ? udp(from, to, payload) : sctp(from, to, 0);
  }
  static net::Endpoint client_of(const Kind& kind, unsigned port) {
    return kind.virtual_end.address.is_v4() ? engine::test::client(port)
                                            : engine::test::client6(port);
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const std::vector<Kind> kinds_ = all_kinds();
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  Lab plain_{kOptions};
  Lab fast_{kOptions};
};

TEST_F(FastPath, TakesEstablishedFlowsOfEveryKind) {
  for (const auto& kind : kinds_) {
    SCOPED_TRACE(kind.virtual_end.address.to_text() + " " +
                 std::to_string(kind.virtual_end.port.to_host()));
    const auto client = client_of(kind, 40000);
    open(kind, client);
    const bool is_for_engine =
        kind.protocol == Protocol::kSctp && kind.method == ForwardingMethod::kMasquerade;
    EXPECT_EQ(send(request(kind, client)), !is_for_engine);
    const bool has_answers = kind.method == ForwardingMethod::kMasquerade && !is_for_engine;
    if (has_answers && kind.server.address != engine::test::ip("10.0.0.1")) {
      EXPECT_TRUE(send(answer(kind, client)));
    }
  }
}

TEST_F(FastPath, LeavesTheBeginningAndTheEndToTheEngine) {
  const auto& kind = kinds_.front();
  const auto client = client_of(kind, 40000);
  EXPECT_FALSE(send(engine::test::tcp(client, kind.virtual_end, net::kTcpSyn)));
  open(kind, client);
  EXPECT_TRUE(send(request(kind, client)));
  EXPECT_FALSE(send(engine::test::tcp(client, kind.virtual_end, net::kTcpFin | net::kTcpAck)));
  EXPECT_FALSE(send(request(kind, client)));
}

TEST_F(FastPath, ARemovedServerGetsNothingMore) {
  const auto& kind = kinds_.front();
  const auto client = client_of(kind, 40000);
  open(kind, client);
  EXPECT_TRUE(send(request(kind, client)));
  const auto key = engine::test::key_of(kind.virtual_end, kind.protocol);
  for (auto* lab : {&plain_, &fast_}) {
    ASSERT_TRUE(lab->director.delete_destination(key, kind.server));
  }
  EXPECT_FALSE(send(request(kind, client)));
  EXPECT_FALSE(send(answer(kind, client)));
}

TEST_F(FastPath, FollowsANeighbourThatMoves) {
  const auto& kind = kinds_.front();
  const auto client = client_of(kind, 40000);
  open(kind, client);
  EXPECT_TRUE(send(request(kind, client)));
  for (auto* lab : {&plain_, &fast_}) {
    lab->network.set_neighbour(kInside, kind.server.address, {{2, 0, 0, 0, 9, 9}});
    lab->pass(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(send(request(kind, client)));
}

/// XDP counts jiffies, the engine CLOCK_MONOTONIC: what the one writes the other can read.
TEST_F(FastPath, WritesAgesByTheClockOfTheEngine) {
  const auto& kind = kinds_.front();
  const auto client = client_of(kind, 40000);
  open(kind, client);
  constexpr auto kOld = std::uint64_t{0x1234} << 48U;
  for (auto& bucket : program_->flow_memory().flows4) {
    for (auto& slot : bucket.slots) slot.words = (slot.words << 16U >> 16U) | kOld;
  }
  const auto age_now = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return flow_age_at(static_cast<std::uint64_t>(now / std::chrono::nanoseconds(1)));
  };
  const auto before = age_now();
  ASSERT_TRUE(send(request(kind, client)));
  const auto after = age_now();
  std::size_t written = 0;
  for (const auto& bucket : program_->flow_memory().flows4) {
    for (const auto& slot : bucket.slots) {
      const auto age = flow_age_of(slot.words);
      if (slot.key == 0 || age == flow_age_of(kOld)) continue;
      EXPECT_LE((age - before + 1) & 0xffffU, ((after - before) & 0xffffU) + 1);  // a tick early
      ++written;
    }
  }
  EXPECT_EQ(written, 1U);
}

TEST_F(FastPath, IsOffWhenAsked) {
  const auto& kind = kinds_.front();
  const auto client = client_of(kind, 40000);
  open(kind, client);
  auto settings = fast_.director.settings();
  settings.fast_path = 0;
  fast_.director.set_settings(settings);
  EXPECT_FALSE(send(request(kind, client)));
  settings.fast_path = 1;
  fast_.director.set_settings(settings);
  EXPECT_FALSE(send(request(kind, client)));
  EXPECT_TRUE(send(request(kind, client)));
}

/// Two connections with the same reply tuple: the younger has it; when it goes, the older again.
TEST_F(FastPath, GivesASharedAnswerBack) {
  const auto shared = engine::test::server(9, 8080);
  const auto client = engine::test::client(41000);
  for (auto* lab : {&plain_, &fast_}) {
    for (const unsigned port : {901U, 902U}) {
      ASSERT_TRUE(lab->director.add_service(engine::test::service_at(engine::test::vip(port))));
      ASSERT_TRUE(lab->director.add_destination(engine::test::key_of(engine::test::vip(port)),
                                                engine::test::to(shared)));
    }
  }
  const Kind first{.virtual_end = engine::test::vip(901), .server = shared};
  const Kind second{.virtual_end = engine::test::vip(902), .server = shared};
  open(first, client);
  EXPECT_TRUE(send(answer(first, client)));
  open(second, client);
  EXPECT_TRUE(send(answer(second, client)));  // compared: as from port 902
  for (int i = 0; i < 2; ++i) send(engine::test::tcp(client, second.virtual_end, net::kTcpRst));
  for (auto* lab : {&plain_, &fast_}) lab->pass(std::chrono::seconds(20));
  EXPECT_EQ(plain_.connections().size(), fast_.connections().size());
}

/// Frames that are damaged, odd and plain, of connections that come and go.
class Mutation {
 public:
  explicit Mutation(std::uint32_t seed) : random_(seed) {}

  std::uint32_t below(std::uint32_t limit) {
    return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(random_);
  }

  void apply(Frame& frame) {
    const bool is_v4 = frame[12] == std::byte{8};
    const std::size_t header = is_v4 ? 20 : 40;
    switch (below(12)) {
      case 0:  // a byte anywhere
        frame[below(static_cast<std::uint32_t>(frame.size()))] ^=
            static_cast<std::byte>(below(256));
        break;
      case 1:  // the end cut off
        frame.resize(14 + below(static_cast<std::uint32_t>(frame.size() - 13)));
        break;
      case 2:  // padding
        frame.resize(frame.size() + 1 + below(40));
        break;
      case 3:  // few hops
        set(frame, is_v4 ? 8U : 7U, below(3));
        break;
      case 4:  // class and ECN
        if (is_v4) set(frame, 1, below(256));
        break;
      case 5:  // fragments, DF
        if (is_v4) set(frame, 6, below(8) << 5U);
        break;
      case 6:  // TCP flags
        if (frame.size() > kIpOffset + header + 14) {
          frame[kIpOffset + header + 13] = static_cast<std::byte>(below(64));
        }
        break;
      case 7:  // checksum of the payload
        if (frame.size() > kIpOffset + header + 18) {
          frame[kIpOffset + header + (below(2) != 0 ? 16 : 6)] = static_cast<std::byte>(below(2));
          frame[kIpOffset + header + (below(2) != 0 ? 17 : 7)] = static_cast<std::byte>(below(2));
        }
        break;
      default:
        break;
    }
  }

  std::mt19937& random() { return random_; }

 private:
  // A byte of the IP header, with its checksum put right.
  static void set(Frame& frame, std::size_t at, std::uint32_t value) {
    frame[kIpOffset + at] = static_cast<std::byte>(value);
    if (frame[12] != std::byte{8} || frame.size() < kIpOffset + 20) return;
    const auto ip = std::span(frame).subspan(kIpOffset, 20);
    net::store(ip, 10, net::Be16());
    net::store(ip, 10, net::internet_checksum(ip));
  }

  std::mt19937 random_;
};

TEST_F(FastPath, EqualsTheEngineOnRandomPackets) {
  constexpr int kPackets = 40000;
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mutation mutation(seed);
  int forwarded = 0;
  for (int i = 0; i < kPackets && !HasFailure(); ++i) {
    const auto& kind = kinds_[mutation.below(static_cast<std::uint32_t>(kinds_.size()))];
    const auto client = client_of(kind, 40000 + mutation.below(4));
    if (mutation.below(40) == 0) open(kind, client);
    const std::size_t payload = mutation.below(10) == 0 ? mutation.below(1500) : mutation.below(64);
    auto frame =
        mutation.below(3) == 0 ? answer(kind, client, payload) : request(kind, client, payload);
    mutation.apply(frame);
    if (send(frame)) ++forwarded;
  }
  EXPECT_GT(forwarded, kPackets / 20);
  EXPECT_EQ(fast_.director.totals().counters, plain_.director.totals().counters);
  for (const auto& kind : kinds_) {
    const auto key = engine::test::key_of(kind.virtual_end, kind.protocol);
    EXPECT_EQ(fast_.director.service(key)->statistics.counters,
              plain_.director.service(key)->statistics.counters);
  }
  RecordProperty("forwarded", forwarded);
}

/// Source NAT: one rule for each family, and a connection of each protocol by both.
class FastPathSnat : public FastPath {
 protected:
  struct Talk {
    Protocol protocol;
    net::Endpoint inside;
    net::Endpoint outside;
    net::Endpoint shown;
  };

  void SetUp() override {
    FastPath::SetUp();
    if (program_ == nullptr) return;
    for (const bool is_v6 : {false, true}) {
      model::SnatRule rule;
      rule.name = is_v6 ? "six" : "four";
      rule.family = is_v6 ? net::Family::kIpv6 : net::Family::kIpv4;
      rule.inside = is_v6 ? model::PrefixMatch{engine::test::ip("2001:db8:3::"), 64}
                          : model::PrefixMatch{engine::test::ip("10.0.0.0"), 16};
      rule.destination = model::MarkRule::any(rule.family);
      const auto address = engine::test::ip(is_v6 ? "2001:db8:2::20" : "192.0.2.20");
      ASSERT_TRUE(rule.add({address, address}));
      for (auto* lab : {&plain_, &fast_}) ASSERT_TRUE(add_snat_rule(lab->director, rule));
    }
  }

  net::Endpoint shown_now(bool is_source) {
    const auto headers = net::parse_frame(plain_.sent.at(0));
    return is_source ? net::Endpoint{headers->source, headers->source_port}
                     : net::Endpoint{headers->destination, headers->destination_port};
  }

  Talk open(Protocol protocol, bool is_v6, unsigned number, unsigned port) {
    using namespace engine::test;
    Talk talk{.protocol = protocol,
              .inside = is_v6 ? server6(number, port) : server(number, port),
              .outside = is_v6 ? engine::test::client6(443) : engine::test::client(443),
              .shown = {}};
    if (protocol == Protocol::kTcp) {
      send(tcp(talk.inside, talk.outside, net::kTcpSyn), kInside);
      talk.shown = shown_now(true);
      send(tcp(talk.outside, talk.shown, net::kTcpSyn | net::kTcpAck));
      send(tcp(talk.inside, talk.outside, net::kTcpAck), kInside);
    } else {
      send(udp(talk.inside, talk.outside), kInside);
      talk.shown = shown_now(true);
      send(udp(talk.inside, talk.outside), kInside);
    }
    send(inward(talk));
    return talk;
  }
  static Frame outward(const Talk& talk, std::size_t payload = 100) {
    return data(talk.protocol, talk.inside, talk.outside, payload);
  }
  static Frame inward(const Talk& talk, std::size_t payload = 100) {
    return data(talk.protocol, talk.outside, talk.shown, payload);
  }
};

TEST_F(FastPathSnat, TakesBothDirections) {
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp}) {
    for (const bool is_v6 : {false, true}) {
      const auto talk = open(protocol, is_v6, 1, 40000);
      EXPECT_TRUE(send(outward(talk), kInside));
      EXPECT_TRUE(send(inward(talk)));
    }
  }
}

TEST_F(FastPathSnat, TheEndIsTheEngines) {
  const auto talk = open(Protocol::kTcp, false, 1, 40000);
  EXPECT_TRUE(send(outward(talk), kInside));
  EXPECT_FALSE(
      send(engine::test::tcp(talk.inside, talk.outside, net::kTcpFin | net::kTcpAck), kInside));
  EXPECT_FALSE(send(outward(talk), kInside));
  EXPECT_FALSE(send(inward(talk)));
  for (auto* lab : {&plain_, &fast_}) lab->pass(std::chrono::seconds(300));
  EXPECT_EQ(fast_.director.connection_count(), 0U);
  EXPECT_EQ(fast_.director.fast_path_status().flows, 0U);
}

TEST_F(FastPathSnat, ADeletedRuleForwardsNothingMore) {
  const auto talk = open(Protocol::kUdp, false, 1, 40000);
  EXPECT_TRUE(send(inward(talk)));
  for (auto* lab : {&plain_, &fast_}) ASSERT_TRUE(delete_snat_rule(lab->director, "four"));
  EXPECT_FALSE(send(outward(talk), kInside));
  EXPECT_FALSE(send(inward(talk)));
}

TEST_F(FastPathSnat, FollowsAnInsideHostThatMoves) {
  const auto talk = open(Protocol::kUdp, false, 1, 40000);
  EXPECT_TRUE(send(inward(talk)));
  for (auto* lab : {&plain_, &fast_}) {
    lab->network.set_neighbour(kInside, talk.inside.address, {{2, 0, 0, 0, 9, 9}});
    lab->pass(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(send(inward(talk)));
}

TEST_F(FastPathSnat, EqualsTheEngineOnRandomPackets) {
  constexpr int kPackets = 20000;
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mutation mutation(seed);
  std::vector<Talk> talks;
  for (unsigned i = 0; i < 16; ++i) {
    talks.push_back(
        open(i % 2 == 0 ? Protocol::kTcp : Protocol::kUdp, i % 4 > 1, 1 + i % 5, 40000 + i));
  }
  int forwarded = 0;
  for (int i = 0; i < kPackets && !HasFailure(); ++i) {
    auto& talk = talks[mutation.below(static_cast<std::uint32_t>(talks.size()))];
    if (mutation.below(200) == 0) {
      talk = open(talk.protocol, !talk.inside.address.is_v4(), 1 + mutation.below(8),
                  41000 + mutation.below(50));
    }
    const bool is_out = mutation.below(2) == 0;
    const std::size_t payload = mutation.below(10) == 0 ? mutation.below(1500) : mutation.below(64);
    auto frame = is_out ? outward(talk, payload) : inward(talk, payload);
    mutation.apply(frame);
    if (send(frame, is_out ? kInside : kOutside)) ++forwarded;
  }
  EXPECT_GT(forwarded, kPackets / 20);
  EXPECT_EQ(fast_.director.totals().counters, plain_.director.totals().counters);
  for (const auto* name : {"four", "six"}) {
    EXPECT_EQ(snat_rule(fast_.director, name)->statistics.counters,
              snat_rule(plain_.director, name)->statistics.counters);
  }
  EXPECT_EQ(fast_.director.counters().dropped, plain_.director.counters().dropped);
  RecordProperty("forwarded", forwarded);
}

}  // namespace
}  // namespace lb::tests
