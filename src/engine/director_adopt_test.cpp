// SPDX-License-Identifier: Apache-2.0
// A director that takes over what another left in memory is as that one was.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/removal.hpp"
#include "engine/testing/kept_memory.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine::test {
namespace {

constexpr std::size_t kConnections = 256;

DirectorOptions with(KeptMemory& memory) {
  return {.connection_capacity = kConnections, .missing_schedulers = {}, .memory = memory.memory()};
}

std::vector<std::string> texts(const std::vector<model::ConnectionInfo>& connections) {
  std::vector<std::string> all;
  for (const auto& info : connections) {
    all.push_back(info.client.address.to_text() + ' ' + std::to_string(info.client.port.to_host()) +
                  ' ' + std::to_string(info.virtual_end.port.to_host()) + ' ' +
                  info.destination.address.to_text() + ' ' +
                  std::to_string(info.destination.port.to_host()) + ' ' +
                  std::string(info.state.view()) + ' ' + std::to_string(info.expires_in));
  }
  std::sort(all.begin(), all.end());
  return all;
}

void expect_same(const Lab& before, const Lab& after) {
  EXPECT_EQ(texts(after.connections()), texts(before.connections()));
  EXPECT_EQ(after.director.service_keys(), before.director.service_keys());
  EXPECT_EQ(after.director.timeouts(), before.director.timeouts());
  for (const auto& key : before.director.service_keys()) {
    EXPECT_EQ(after.director.service(key)->spec, before.director.service(key)->spec);
    const auto is = after.director.destinations(key);
    const auto should_be = before.director.destinations(key);
    ASSERT_EQ(is.size(), should_be.size());
    for (std::size_t i = 0; i < is.size(); ++i) {
      EXPECT_EQ(is[i].spec, should_be[i].spec);
      EXPECT_EQ(is[i].active_connections, should_be[i].active_connections);
      EXPECT_EQ(is[i].inactive_connections, should_be[i].inactive_connections);
      EXPECT_EQ(is[i].persistent_connections, should_be[i].persistent_connections);
    }
  }
}

/// A director on `memory` that goes on at `now`.
std::unique_ptr<Lab> successor(KeptMemory& memory, Timestamp now) {
  auto lab = std::make_unique<Lab>(with(memory));
  EXPECT_TRUE(lab->director.can_adopt());
  lab->now = now;
  lab->director.adopt(now);
  return lab;
}

class Adoption : public ::testing::Test {
 protected:
  Adoption() { lab_.director.begin_saving(); }

  void add(const net::Endpoint& service, model::ForwardingMethod method, std::uint32_t flags = 0) {
    auto spec = service_at(service, net::Protocol::kTcp, "wlc");
    spec.flags = flags;
    spec.timeout = flags != 0 ? 300 : 0;
    ASSERT_TRUE(lab_.director.add_service(spec));
    for (unsigned n = 1; n <= 3; ++n) {
      const auto end = service.address.is_v4() ? server(n, service.port.to_host())
                                               : server6(n, service.port.to_host());
      ASSERT_TRUE(lab_.director.add_destination(key_of(service),
                                                to(end, method, static_cast<std::int32_t>(n))));
    }
  }

  KeptMemory memory_{kConnections};
  Lab lab_{with(memory_)};
};

TEST_F(Adoption, OfNothingIsRefused) {
  KeptMemory memory(kConnections);
  const Lab lab(with(memory));
  EXPECT_FALSE(lab.director.can_adopt());
}

TEST_F(Adoption, OfAnotherBuildIsRefused) {
  memory_->globals->layout ^= 1U;
  EXPECT_FALSE(lab_.director.can_adopt());
}

TEST_F(Adoption, KeepsConnectionsOfEveryMethod) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  add(vip(81), model::ForwardingMethod::kDirectRoute);
  add(vip6(80), model::ForwardingMethod::kTunnel);
  add(vip(82), model::ForwardingMethod::kMasquerade, model::kServicePersistent);
  for (unsigned port = 40000; port < 40010; ++port) {
    for (const unsigned service : {80U, 81U, 82U}) {
      lab_.process(tcp(client(port), vip(service), net::kTcpSyn));
      lab_.process(tcp(client(port), vip(service), net::kTcpAck));
    }
    lab_.process(tcp(client6(port), vip6(80), net::kTcpSyn));
  }
  lab_.pass(std::chrono::seconds(3));
  auto copy = memory_;
  auto next = successor(copy, lab_.now);
  expect_same(lab_, *next);

  // Both treat the next packets alike.
  for (unsigned port = 40000; port < 40012; ++port) {
    for (const unsigned service : {80U, 81U, 82U}) {
      const auto frame = tcp(client(port), vip(service), net::kTcpAck, 10);
      EXPECT_EQ(lab_.process(frame).kind, next->process(frame).kind);
      EXPECT_EQ(lab_.sent, next->sent);
    }
  }
  // Twice: a template looks again after a minute if a connection goes in the same turn.
  for (int i = 0; i < 2; ++i) {
    lab_.pass(std::chrono::hours(1));
    next->pass(std::chrono::hours(1));
  }
  EXPECT_TRUE(next->connections().empty());
  expect_same(lab_, *next);
}

TEST_F(Adoption, KeepsAnswers) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  lab_.process(tcp(client(), vip(80), net::kTcpSyn));
  const auto chosen = lab_.connections().front().destination;
  auto copy = memory_;
  const auto next = successor(copy, lab_.now);
  const auto answer = tcp(chosen, client(), net::kTcpSyn | net::kTcpAck);
  EXPECT_EQ(next->process(answer, kInside).kind, Verdict::Kind::kSend);
  lab_.process(answer, kInside);
  EXPECT_EQ(next->sent, lab_.sent);
}

TEST_F(Adoption, KeepsRemovedServersForTheirConnections) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  lab_.process(tcp(client(), vip(80), net::kTcpSyn));
  const auto chosen = lab_.connections().front().destination;
  ASSERT_TRUE(lab_.director.delete_destination(key_of(vip(80)), chosen));
  auto copy = memory_;
  auto next = successor(copy, lab_.now);
  expect_same(lab_, *next);
  ASSERT_TRUE(next->director.add_destination(key_of(vip(80)), to(chosen)));
  EXPECT_EQ(next->process(tcp(client(), vip(80), net::kTcpAck)).kind, Verdict::Kind::kSend);
  EXPECT_EQ(next->connections().size(), 1U);
}

TEST_F(Adoption, OfASuccessor) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  add(vip(81), model::ForwardingMethod::kDirectRoute);
  lab_.process(tcp(client(), vip(80), net::kTcpSyn));
  auto copy = memory_;
  auto next = successor(copy, lab_.now);
  ASSERT_TRUE(next->director.delete_service(key_of(vip(81))));
  ASSERT_TRUE(next->director.add_service(service_at(vip(82))));
  next->process(tcp(client(41000), vip(80), net::kTcpSyn));
  const auto last = successor(copy, lab_.now);
  expect_same(*next, *last);
  EXPECT_FALSE(last->director.has_service(key_of(vip(81))));
  EXPECT_TRUE(last->director.has_service(key_of(vip(82))));
  EXPECT_EQ(last->connections().size(), 2U);
}

TEST_F(Adoption, KeepsMarkRulesAndOptions) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  for (std::uint32_t value = 1; value <= 3; ++value) {
    model::MarkRule rule;
    rule.protocol = 6;
    rule.value = value;
    ASSERT_TRUE(lab_.director.add_mark_rule(rule));
  }
  ASSERT_TRUE(lab_.director.delete_mark_rule(2));
  model::ServiceOptions options;
  options.drain = 30;
  options.timeouts.tcp = 77;
  ASSERT_TRUE(set_service_options(lab_.director, key_of(vip(80)), options));
  auto copy = memory_;
  const auto next = successor(copy, lab_.now);
  ASSERT_EQ(next->director.mark_rule_count(), 2U);
  EXPECT_EQ(next->director.mark_rule(1)->rule.value, 1U);
  EXPECT_EQ(next->director.mark_rule(2)->rule.value, 3U);
  EXPECT_EQ(service_options(next->director, key_of(vip(80))), options);
}

/// Whatever lies in the memory: no crash, and what is taken over is in order.
TEST_F(Adoption, OfDamagedMemoryKeepsWhatIsWhole) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  add(vip6(80), model::ForwardingMethod::kTunnel);
  for (unsigned port = 40000; port < 40040; ++port) {
    lab_.process(tcp(client(port), vip(80), net::kTcpSyn));
    lab_.process(tcp(client6(port), vip6(80), net::kTcpSyn));
  }
  std::mt19937 random(20260101);
  const auto damage = [&](auto entries) {
    auto bytes = std::as_writable_bytes(entries);
    bytes[random() % std::min<std::size_t>(bytes.size(), 64 * 80)] =
        static_cast<std::byte>(random());
  };
  for (int round = 0; round < 300; ++round) {
    auto copy = memory_;
    for (int i = 0; i < 8; ++i) {
      damage(copy->records);
      damage(copy->virtual_ends);
      damage(copy->real_ends);
      damage(copy->destinations);
    }
    const auto next = successor(copy, lab_.now);
    for (unsigned port = 40000; port < 40050; ++port) {
      next->process(tcp(client(port), vip(80), net::kTcpAck));
      next->process(tcp(client6(port), vip6(80), net::kTcpAck));
    }
    EXPECT_LE(next->connections().size(), 110U);
    // Even the longest timeout that damage can make ends.
    for (int i = 0; i < 2; ++i) next->pass(std::chrono::hours(24 * 250));
    EXPECT_TRUE(next->connections().empty());
  }
}

/// The process may end at any instruction: here, wherever the memory is between two packets or
/// commands, and with each record's commit word just not written.
TEST_F(Adoption, IsPossibleAtEveryMoment) {
  add(vip(80), model::ForwardingMethod::kMasquerade);
  add(vip(81), model::ForwardingMethod::kDirectRoute);
  std::mt19937 generator(20260102);
  const auto below = [&](unsigned limit) {
    return std::uniform_int_distribution<unsigned>(0, limit - 1)(generator);
  };
  for (int step = 0; step < 200; ++step) {
    const auto from = client(40000 + below(30));
    const auto service = vip(80 + below(2));
    switch (below(8)) {
      case 0:
        lab_.process(tcp(from, service, net::kTcpRst));
        break;
      case 1:
        lab_.pass(std::chrono::seconds(below(40)));
        break;
      case 2:
        (void)lab_.director.delete_destination(key_of(service), server(1, service.port.to_host()));
        break;
      case 3:
        (void)lab_.director.add_destination(key_of(service), to(server(1, service.port.to_host())));
        break;
      default:
        lab_.process(tcp(from, service, below(2) != 0 ? net::kTcpSyn : net::kTcpAck));
        break;
    }
    auto copy = memory_;
    const auto next = successor(copy, lab_.now);
    EXPECT_EQ(texts(next->connections()), texts(lab_.connections())) << "step " << step;
  }
}

}  // namespace
}  // namespace lb::engine::test
