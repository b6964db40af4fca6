// SPDX-License-Identifier: Apache-2.0
// The engine changes what it has published while packets are forwarded by it. First step by step: a
// packet of every flow between any two stores. Then at full speed, on two CPUs.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "fast_path_talks.hpp"

namespace lb::tests {
namespace {

using Race = TalksTest;

TEST_F(Race, BetweenAnyTwoStores) {
  constexpr unsigned kOtherClients = 24;
  if (!StoreTrap::kIsPossible) GTEST_SKIP() << "single steps are for x86-64 only";
  SteppedMemory stepped(program_->flow_memory());
  start(stepped.memory());
  if (HasFatalFailure()) return;
  stepped.show_all();

  // A packet to every virtual end, and an answer of every server there is or will be.
  std::vector<Frame> probes;
  const auto choose_probes = [&] {
    probes.clear();
    for (auto talk : talks_) {
      probes.push_back(talk.request());
      for (const unsigned server : {talk.server, talk.server % 16 + 1}) {
        talk.server = server;
        probes.push_back(talk.answer());
      }
    }
  };
  const auto results = [&] {
    std::vector<RunResult> all;
    for (const auto& probe : probes) {
      auto result = run(*program_, probe);
      forget_identification(result.frame);
      all.push_back(std::move(result));
    }
    return all;
  };
  std::size_t stores = 0;
  std::size_t forwarded = 0;
  const auto change = [&](const std::string& what, auto&& action) {
    SCOPED_TRACE(what);
    const auto before = results();
    StoreTrap trap({&stepped.block()}, 4000);
    trap.arm();
    action();
    trap.disarm();
    std::vector<std::vector<RunResult>> seen;
    for (const auto& store : trap.stores()) {
      stepped.show(store);
      seen.push_back(results());
    }
    stepped.show_all();
    const auto after = results();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      for (std::size_t probe = 0; probe < probes.size(); ++probe) {
        const auto& is = seen[i][probe];
        if (!is.is_forwarded) continue;
        ++forwarded;
        const bool is_old = before[probe].is_forwarded && is.frame == before[probe].frame;
        const bool is_new = after[probe].is_forwarded && is.frame == after[probe].frame;
        EXPECT_TRUE(is_old || is_new) << "probe " << probe << " after store " << i;
      }
    }
    stores += trap.stores().size();
  };

  choose_probes();
  unsigned round = 0;
  for (auto& talk : talks_) {
    const auto name = "talk " + std::to_string(round++) + ": ";
    change(name + "the server's neighbour moves", [&] {
      lab_->network.set_neighbour(kInside, talk.real_end().address,
                                  {{2, 0, 0, 0, 7, static_cast<std::uint8_t>(round)}});
      lab_->pass(std::chrono::milliseconds(10));
    });
    change(name + "its server goes", [&] { remove_server(talk); });
    talk.server = talk.server % 16 + 1;
    change(name + "another server comes", [&] { add_server(talk); });
    change(name + "a connection to it", [&] { open(talk); });
    change(name + "it ends", [&] { close(talk); });
    change(name + "a new one", [&] { open(talk); });
  }
  for (unsigned i = 0; i < kOtherClients; ++i) {
    auto& talk = talks_[i % talks_.size()];
    change("it ends, number " + std::to_string(i), [&] { close(talk); });
    talk.client.port = engine::test::port_of(41000 + i);
    choose_probes();
    change("of another client, number " + std::to_string(i), [&] { open(talk); });
  }
  EXPECT_GT(forwarded, stores);  // most flows are not concerned by a change
  RecordProperty("stores", static_cast<int>(stores));
  RecordProperty("forwarded", static_cast<int>(forwarded));
}

/// What leaves for a talk's packets, told by the thread that changes it to the one that sends.
class Published {
 public:
  struct Expected {
    Frame request;
    Frame answer;
  };

  /// From now on packets may go the old way or the new one.
  void begin() { version_.fetch_add(1); }
  void end(Expected expected) {
    const std::lock_guard lock(mutex_);
    old_ = std::move(now_);
    now_ = std::move(expected);
    version_.fetch_add(1);
  }
  [[nodiscard]] std::uint64_t version() const { return version_.load(); }
  /// What is right for a packet on its way from `version` till now; empty: can't be told.
  [[nodiscard]] std::vector<Expected> since(std::uint64_t version) {
    for (;;) {
      const auto is = version_.load();
      if (is - version > 2 + version % 2) return {};
      if (is % 2 == 1) {
        std::this_thread::yield();
        continue;
      }
      const std::lock_guard lock(mutex_);
      if (version_.load() != is) continue;
      if (is == version) return {now_};
      return {old_, now_};
    }
  }

 private:
  std::atomic<std::uint64_t> version_ = 0;
  std::mutex mutex_;
  Expected old_;
  Expected now_;
};

TEST_F(Race, OnTwoCpus) {
  constexpr int kChanges = 20000;
  constexpr int kMostChanges = 1000000;
  constexpr std::uint64_t kForwarded = 20000;
  start(program_->flow_memory());
  if (HasFatalFailure()) return;
  std::vector<Published> published(talks_.size());
  const auto tell = [&](std::size_t i) {
    Published::Expected expected{by_engine(talks_[i].request(), kOutside), {}};
    if (talks_[i].method == ForwardingMethod::kMasquerade) {
      expected.answer = by_engine(talks_[i].answer(), kInside);
    }
    published[i].end(std::move(expected));
  };
  for (std::size_t i = 0; i < talks_.size(); ++i) {
    published[i].begin();
    tell(i);
  }
  // Answers come from all servers that a talk ever has: here those of its first.
  std::vector<unsigned> firsts;
  std::vector<Frame> requests;
  std::vector<Frame> answers;
  for (const auto& talk : talks_) {
    firsts.push_back(talk.server);
    requests.push_back(talk.request());
    answers.push_back(talk.answer());
  }

  std::atomic<bool> is_over = false;
  std::uint64_t judged = 0;
  std::atomic<std::uint64_t> forwarded = 0;
  std::uint64_t wrong = 0;
  std::thread sender([&] {
    for (std::size_t i = 0; !is_over; i = (i + 1) % talks_.size()) {
      const bool is_answer = judged % 2 == 1 && talks_[i].method == ForwardingMethod::kMasquerade;
      ++judged;
      const auto version = published[i].version();
      auto result = run(*program_, is_answer ? answers[i] : requests[i]);
      if (!result.is_forwarded) continue;
      ++forwarded;
      forget_identification(result.frame);
      const auto right = published[i].since(version);
      bool is_right = right.empty();
      for (const auto& expected : right) {
        is_right |= result.frame == (is_answer ? expected.answer : expected.request);
      }
      wrong += is_right ? 0 : 1;
    }
  });

  const auto is_enough = [&](int changes) {
    return changes >= kMostChanges || (changes >= kChanges && forwarded >= kForwarded);
  };
  std::uint64_t refused_before = 0;
  for (int i = 0; !is_enough(i) && !HasFatalFailure(); ++i) {
    const auto which = static_cast<std::size_t>(i) % talks_.size();
    auto& talk = talks_[which];
    // At this speed all numbers of endpoints are resting after a second or so.
    const auto refused = lab_->director.fast_path_status().refused;
    if (refused != refused_before) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    refused_before = refused;
    published[which].begin();
    remove_server(talk);
    // Back and forth between a server and ports of another, mostly new ones.
    const bool is_at_first = talk.server == firsts[which];
    talk.server = is_at_first ? talk.server % 16 + 1 : firsts[which];
    talk.port = is_at_first ? 9000 + static_cast<unsigned>(i) / 4 % 50000 : 8080;
    add_server(talk);
    open(talk);
    tell(which);
  }
  is_over = true;
  sender.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_GE(forwarded, kForwarded);
  RecordProperty("packets", static_cast<int>(judged));
  RecordProperty("forwarded", static_cast<int>(forwarded));
}

}  // namespace
}  // namespace lb::tests
