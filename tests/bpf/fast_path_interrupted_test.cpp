// SPDX-License-Identifier: Apache-2.0
// The engine ends after any store into the memory that outlives it and into the flow table. Until
// another comes, packets go right or to nobody; the next one goes on with what is there.
#include <gtest/gtest.h>

#include "engine/testing/kept_memory.hpp"
#include "fast_path_talks.hpp"

namespace lb::tests {
namespace {

class FastPathInterrupted : public TalksTest {
 protected:
  struct Result {
    RunResult request;
    RunResult answer;
  };

  void SetUp() override {
    TalksTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!StoreTrap::kIsPossible) GTEST_SKIP() << "single steps are for x86-64 only";
    // One of each method will do, and both families: every store costs a new director.
    talks_ = {talks_[0], talks_[1], talks_[4], talks_[9]};
    published_ = std::make_unique<SteppedMemory>(program_->flow_memory());
    start(published_->memory(), kept_.memory());
    if (HasFatalFailure()) return;
    published_->show_all();
    replica_ = std::make_unique<SteppedMemory>(program_->flow_memory());
  }

  std::vector<Result> results() {
    std::vector<Result> all;
    for (const auto& talk : talks_) {
      Result result{run(*program_, talk.request()), run(*program_, talk.answer())};
      forget_identification(result.request.frame);
      forget_identification(result.answer.frame);
      all.push_back(std::move(result));
    }
    return all;
  }

  static bool is_one_of(const RunResult& is, const RunResult& left, const RunResult& right) {
    return !is.is_forwarded || (left.is_forwarded && is.frame == left.frame) ||
           (right.is_forwarded && is.frame == right.frame);
  }

  // `changed`: the talk that the change is about.
  void expect_right(const std::vector<Result>& are, const std::vector<Result>& before,
                    const std::vector<Result>& after, std::size_t changed) {
    for (std::size_t i = 0; i < talks_.size(); ++i) {
      SCOPED_TRACE("talk " + std::to_string(i));
      EXPECT_TRUE(is_one_of(are[i].request, before[i].request, after[i].request));
      EXPECT_TRUE(is_one_of(are[i].answer, before[i].answer, after[i].answer));
      if (i == changed) continue;
      EXPECT_EQ(are[i].request.is_forwarded, before[i].request.is_forwarded);
      EXPECT_EQ(are[i].answer.is_forwarded, before[i].answer.is_forwarded);
    }
  }

  /// A director takes over what lies there, and goes on.
  void succeed(const engine::test::KeptMemory& left, const std::vector<Result>& before,
               const std::vector<Result>& after, std::size_t changed) {
    const auto found = engine::test::KeptMemory::shadow_of(left);
    Lab next(options(found.memory()));
    ASSERT_TRUE(next.director.can_adopt());
    next.now = lab_->now;
    next.director.adopt(next.now);
    start_fast_path(next, program_->flow_memory());
    {
      SCOPED_TRACE("adopted");
      expect_right(results(), before, after, changed);
    }
    for (std::size_t i = 0; i < talks_.size(); ++i) {
      if (i == changed) continue;
      SCOPED_TRACE("by the next engine, talk " + std::to_string(i));
      ASSERT_EQ(next.process(talks_[i].request()).kind, engine::Verdict::Kind::kSend);
      auto sent = next.sent.front();
      forget_identification(sent);
      EXPECT_EQ(sent, before[i].request.frame);
    }
    SCOPED_TRACE("offered again");
    expect_right(results(), before, after, changed);
  }

  template <class Change>
  void interrupt(const std::string& what, std::size_t changed, Change change) {
    SCOPED_TRACE(what);
    const auto before = results();
    engine::test::KeptMemory left(kept_);
    StoreTrap trap({&kept_.block(), &published_->block()}, 4000);
    trap.arm();
    change();
    trap.disarm();
    published_->show_all();
    const auto after = results();
    for (std::size_t i = 0; i < trap.stores().size() && !HasFailure(); ++i) {
      SCOPED_TRACE("after store " + std::to_string(i));
      const auto& store = trap.stores()[i];
      if (store.block == 0) {
        std::memcpy(left.block().begin() + store.offset, store.page.data(), store.page.size());
      } else {
        replica_->follow(store);
      }
      replica_->show_all();
      expect_right(results(), before, after, changed);
      succeed(left, before, after, changed);
    }
    stores_ += trap.stores().size();
    published_->show_all();
  }

  engine::test::KeptMemory kept_{kConnections};
  std::unique_ptr<SteppedMemory> published_;
  std::unique_ptr<SteppedMemory> replica_;
  std::size_t stores_ = 0;
};

TEST_F(FastPathInterrupted, AfterAnyStore) {
  for (std::size_t i = 0; i < talks_.size() && !HasFailure(); ++i) {
    auto& talk = talks_[i];
    const auto name = "talk " + std::to_string(i) + ": ";
    interrupt(name + "it ends", i, [&] { close(talk); });
    interrupt(name + "a new one", i, [&] { open(talk); });
    interrupt(name + "its server goes", i, [&] { remove_server(talk); });
    talk.server = talk.server % 16 + 1;
    interrupt(name + "another server comes", i, [&] { add_server(talk); });
    interrupt(name + "a connection to it", i, [&] { open(talk); });
  }
  RecordProperty("stores", static_cast<int>(stores_));
}

}  // namespace
}  // namespace lb::tests
