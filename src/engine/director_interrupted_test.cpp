// SPDX-License-Identifier: Apache-2.0
// A director may end after any store into the memory that outlives it. Each of these moments is
// tried here: its successor must find what was before the change or what is after it.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/removal.hpp"
#include "engine/snat.hpp"
#include "engine/testing/kept_memory.hpp"
#include "engine/testing/lab.hpp"
#include "engine/testing/store_trap.hpp"

namespace lb::engine::test {
namespace {

constexpr std::size_t kConnections = 64;
constexpr std::size_t kMostStores = 6000;
using Lines = std::set<std::string>;

std::unique_ptr<Lab> director_on(const KeptMemory& memory) {
  return std::make_unique<Lab>(DirectorOptions{
      .connection_capacity = kConnections, .missing_schedulers = {}, .memory = memory.memory()});
}

std::string text(const net::Endpoint& end) {
  return end.address.to_text() + ":" + std::to_string(end.port.to_host());
}

/// What an operator has told a director.
Lines configuration(Director& director) {
  Lines lines;
  for (const auto& key : director.service_keys()) {
    const auto service = director.service(key);
    const auto name = "service " + text({key.address, key.port});
    lines.insert(name + " " + std::string(service->spec.scheduler.view()) + " " +
                 std::to_string(service->spec.flags) + " drain " +
                 std::to_string(service_options(director, key)->drain.value_or(-1)));
    int position = 0;  // in the order of the listing, which schedulers go by
    for (const auto& info : director.destinations(key)) {
      lines.insert(name + " -> " + std::to_string(position++) + " " +
                   text({info.spec.address, info.spec.port}) + " weight " +
                   std::to_string(info.spec.weight));
    }
  }
  for (std::uint32_t i = 1; i <= director.mark_rule_count(); ++i) {
    lines.insert("rule " + std::to_string(i) + " " +
                 std::to_string(director.mark_rule(i)->rule.value));
  }
  for (const auto& info : snat_rules(director)) {
    lines.insert("snat " + std::string(info.rule.name.view()) + " " +
                 info.rule.inside.address.to_text());
  }
  lines.insert("timeouts " + std::to_string(director.timeouts().tcp) + " " +
               std::to_string(director.timeouts().udp));
  lines.insert("expire_nodest_conn " + std::to_string(director.settings().expire_nodest_conn));
  return lines;
}

/// Where each connection goes. Not its state: that of a packet whose way is not finished is one of
/// the two.
Lines connections(const Lab& lab) {
  Lines lines;
  for (const auto& info : lab.connections()) {
    lines.insert(text(info.client) + " " + text(info.virtual_end) + " -> " +
                 text(info.destination));
  }
  return lines;
}

Lines both(const Lines& left, const Lines& right) {
  Lines result;
  std::set_intersection(left.begin(), left.end(), right.begin(), right.end(),
                        std::inserter(result, result.end()));
  return result;
}

Lines either(Lines left, const Lines& right) {
  left.insert(right.begin(), right.end());
  return left;
}

class Interrupted : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!StoreTrap::kIsPossible) GTEST_SKIP() << "single steps are for x86-64 only";
    lab_->director.begin_saving();
    for (const unsigned port : {80U, 81U}) {
      ASSERT_TRUE(lab_->director.add_service(service_at(vip(port), net::Protocol::kTcp, "wrr")));
      for (unsigned n = 1; n <= 3; ++n) {
        ASSERT_TRUE(lab_->director.add_destination(key_of(vip(port)), to(server(n, port))));
      }
    }
    for (std::uint32_t value = 1; value <= 3; ++value) ASSERT_TRUE(add_rule(value));
    for (unsigned port = 40000; port < 40006; ++port) {
      lab_->process(tcp(client(port), vip(80), net::kTcpSyn));
      lab_->process(tcp(client(port), vip(80), net::kTcpAck));
    }
  }

  Result<void> add_rule(std::uint32_t value, std::uint32_t position = 0) {
    model::MarkRule rule;
    rule.protocol = 6;
    rule.value = value;
    return lab_->director.add_mark_rule(rule, position);
  }

  /// Does something, and lets a successor begin after each store of it. `is_whole`: what an
  /// operator has configured changes at once or not at all. `keeps_connections`: those that are
  /// there before and after are there in between.
  template <class Change>
  void interrupt(const char* what, Change change, bool is_whole = true,
                 bool keeps_connections = true) {
    SCOPED_TRACE(what);
    KeptMemory replica(memory_);  // follows, one store after the other
    const auto old_configuration = configuration(lab_->director);
    const auto old_connections = connections(*lab_);
    {
      StoreTrap trap({&memory_.block()}, kMostStores);
      trap.arm();
      change();
      trap.disarm();
      const auto new_configuration = configuration(lab_->director);
      const auto new_connections = connections(*lab_);
      EXPECT_FALSE(trap.stores().empty());
      std::size_t number = 0;
      for (const auto& store : trap.stores()) {
        std::memcpy(replica.block().begin() + store.offset, store.page.data(), store.page.size());
        SCOPED_TRACE("after store " + std::to_string(++number) + " of " +
                     std::to_string(trap.stores().size()));
        const auto found = KeptMemory::shadow_of(replica);
        const auto next = director_on(found);
        ASSERT_TRUE(next->director.can_adopt());
        next->now = lab_->now;
        next->director.adopt(next->now);
        const auto is = configuration(next->director);
        if (is_whole) {
          EXPECT_EQ(is, is == old_configuration ? old_configuration : new_configuration);
        } else {
          EXPECT_EQ(both(both(old_configuration, new_configuration), is),
                    both(old_configuration, new_configuration));
        }
        const auto open = connections(*next);
        const auto kept = both(old_connections, new_connections);
        if (keeps_connections) {
          EXPECT_EQ(both(open, kept), kept) << "lost";
        }
        EXPECT_EQ(both(open, either(old_connections, new_connections)), open) << "made up";
        if (HasFailure()) return;
      }
    }
  }

  KeptMemory memory_{kConnections};
  std::unique_ptr<Lab> lab_ = director_on(memory_);
};

TEST_F(Interrupted, ByChangesOfServices) {
  auto& director = lab_->director;
  interrupt("add", [&] { ASSERT_TRUE(director.add_service(service_at(vip(82)))); });
  auto edited = service_at(vip(80), net::Protocol::kTcp, "sh");
  interrupt("edit", [&] { ASSERT_TRUE(director.edit_service(edited)); });
  model::ServiceOptions options;
  options.drain = 30;
  interrupt("options",
            [&] { ASSERT_TRUE(set_service_options(director, key_of(vip(81)), options)); });
  interrupt("zero", [&] { (void)director.zero(key_of(vip(80))); });
  interrupt("delete", [&] { ASSERT_TRUE(director.delete_service(key_of(vip(80)))); });
  interrupt(
      "flush", [&] { director.flush(); }, false);
}

TEST_F(Interrupted, ByChangesOfDestinations) {
  auto& director = lab_->director;
  const auto key = key_of(vip(80));
  interrupt("add", [&] { ASSERT_TRUE(director.add_destination(key, to(server(4, 80)))); });
  auto edited = to(server(1, 80), model::ForwardingMethod::kMasquerade, 7);
  interrupt("edit", [&] { ASSERT_TRUE(director.edit_destination(key, edited)); });
  interrupt("delete", [&] { ASSERT_TRUE(director.delete_destination(key, server(2, 80))); });
  interrupt("add again", [&] { ASSERT_TRUE(director.add_destination(key, to(server(2, 80)))); });
}

TEST_F(Interrupted, ByChangesOfTheRest) {
  auto& director = lab_->director;
  auto settings = director.settings();
  settings.expire_nodest_conn = 1;
  interrupt("settings", [&] { director.set_settings(settings); });
  interrupt("timeouts", [&] { (void)director.set_timeouts({.tcp = 77, .tcp_fin = 7, .udp = 8}); });
  interrupt("rule at the end", [&] { ASSERT_TRUE(add_rule(9)); });
  interrupt("rule in between", [&] { ASSERT_TRUE(add_rule(10, 2)); });
  interrupt("rule deleted", [&] { ASSERT_TRUE(director.delete_mark_rule(1)); });
  interrupt("no rules", [&] { director.flush_mark_rules(); });
}

TEST_F(Interrupted, ByPackets) {
  const auto from = client(41000);
  const auto packet = [&](const char* what, const Frame& frame, InterfaceId in = kOutside) {
    interrupt(what, [&] { lab_->process(frame, in); });
  };
  packet("first", tcp(from, vip(80), net::kTcpSyn));
  const auto chosen = lab_->connections().front().destination;
  packet("answer", tcp(chosen, from, net::kTcpSyn | net::kTcpAck), kInside);
  packet("established", tcp(from, vip(80), net::kTcpAck));
  packet("data", tcp(from, vip(80), net::kTcpAck, 100));
  packet("end", tcp(from, vip(80), net::kTcpFin | net::kTcpAck));
  packet("reset", tcp(from, vip(80), net::kTcpRst));
}

TEST_F(Interrupted, ByPersistenceAndExpiry) {
  auto spec = service_at(vip(90), net::Protocol::kTcp, "wlc");
  spec.flags = model::kServicePersistent;
  spec.timeout = 60;
  ASSERT_TRUE(lab_->director.add_service(spec));
  ASSERT_TRUE(lab_->director.add_destination(key_of(vip(90)), to(server(1, 90))));
  interrupt("template", [&] { lab_->process(tcp(client(42000), vip(90), net::kTcpSyn)); });
  interrupt("time", [&] { lab_->pass(std::chrono::seconds(61)); });
  interrupt("more time", [&] { lab_->pass(std::chrono::minutes(20)); });
}

TEST_F(Interrupted, BySourceNat) {
  auto& director = lab_->director;
  const auto rule_of = [](std::string_view name, const char* inside, const char* outside) {
    model::SnatRule rule;
    rule.name = name;
    rule.inside = {.address = ip(inside), .length = 16};
    (void)rule.add({ip(outside), ip(outside)});
    return rule;
  };
  const auto office = rule_of("office", "10.0.0.0", "192.0.2.11");
  interrupt("rule", [&] { ASSERT_TRUE(add_snat_rule(director, office)); });
  const net::Endpoint inside = server(7, 40000);
  const auto outside = client(443);
  interrupt("way out", [&] { lab_->process(tcp(inside, outside, net::kTcpSyn), kInside); });
  interrupt("answer", [&] {
    const auto mapped = lab_->connections().back().virtual_end;
    lab_->process(tcp(outside, mapped, net::kTcpSyn | net::kTcpAck));
  });
  interrupt("data", [&] { lab_->process(tcp(inside, outside, net::kTcpAck, 10), kInside); });
  const auto lab = rule_of("lab", "10.1.0.0", "192.0.2.1");
  interrupt("another rule", [&] { ASSERT_TRUE(add_snat_rule(director, lab)); });
  interrupt("deleted", [&] { ASSERT_TRUE(delete_snat_rule(director, lab.name)); });
  // The daemon ends its connections one by one; a successor does not have them.
  interrupt(
      "deleted with its connections", [&] { ASSERT_TRUE(delete_snat_rule(director, office.name)); },
      true, false);
}

/// Taking over is interrupted as well.
TEST_F(Interrupted, ByTheNextEnd) {
  const auto before = configuration(lab_->director);
  const auto open = connections(*lab_);
  KeptMemory taken(memory_);
  KeptMemory replica(memory_);
  const auto second = director_on(taken);
  second->now = lab_->now;
  StoreTrap trap({&taken.block()}, kMostStores);
  trap.arm();
  second->director.adopt(second->now);
  trap.disarm();
  for (const auto& store : trap.stores()) {
    std::memcpy(replica.block().begin() + store.offset, store.page.data(), store.page.size());
    const auto found = KeptMemory::shadow_of(replica);
    const auto third = director_on(found);
    ASSERT_TRUE(third->director.can_adopt());
    third->now = lab_->now;
    third->director.adopt(third->now);
    ASSERT_EQ(configuration(third->director), before);
    ASSERT_EQ(connections(*third), open);
  }
  RecordProperty("stores", static_cast<int>(trap.stores().size()));
}

}  // namespace
}  // namespace lb::engine::test
