// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/slot_pool.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/flow/flow_ends.hpp"

namespace lb::engine {
namespace {

using SlotRun = SlotPool::Run;

Timestamp at(std::int64_t ms) { return {std::chrono::milliseconds(ms)}; }
const std::int64_t kRestMs =
    std::chrono::duration_cast<std::chrono::milliseconds>(FlowEnds::kRest).count();

bool overlap(const SlotRun& a, const SlotRun& b) {
  return a.first < b.first + b.size && b.first < a.first + a.size;
}

/// As many runs of a size as there are.
std::vector<SlotRun> take_all(SlotPool& pool, std::uint32_t size, Timestamp now) {
  std::vector<SlotRun> runs;
  while (true) {
    const auto run = pool.take(size, now);
    if (run.size == 0) return runs;
    runs.push_back(run);
  }
}

TEST(SlotPool, GivesOutWhatThereIs) {
  SlotPool pool(200);
  EXPECT_EQ(pool.slots(), 200U);
  const auto runs = take_all(pool, 61, at(0));
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(pool.used(), 3U * 61);
  EXPECT_EQ(take_all(pool, 1, at(0)).size(), 200U - 3 * 61);
  EXPECT_EQ(pool.used(), 200U);
  EXPECT_EQ(pool.take(1, at(0)).size, 0U);
}

TEST(SlotPool, ARunThatWasGivenBackRests) {
  SlotPool pool(61);
  const auto run = pool.take(61, at(0));
  ASSERT_EQ(run.size, 61U);
  pool.give(run, at(1000));
  EXPECT_EQ(pool.used(), 0U);
  EXPECT_EQ(pool.take(61, at(1000 + kRestMs - 1)).size, 0U);
  const auto again = pool.take(61, at(1000 + kRestMs));
  EXPECT_EQ(again.first, run.first);
  EXPECT_EQ(again.size, 61U);
}

TEST(SlotPool, NothingGivenBackChangesNothing) {
  SlotPool pool(61);
  pool.give({}, at(0));
  EXPECT_EQ(pool.used(), 0U);
  EXPECT_EQ(take_all(pool, 61, at(5000)).size(), 1U);
}

TEST(SlotPool, AdoptsRunsAndUsesWhatLiesBetween) {
  SlotPool pool(2000);
  const std::vector<SlotRun> used{{.first = 400, .size = 61}, {.first = 100, .size = 251}};
  const auto kept = pool.adopt(used);
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(pool.used(), 61U + 251);
  std::vector<SlotRun> all(kept);
  for (const auto size : {251U, 61U, 1U}) {
    for (const auto& run : take_all(pool, size, at(0))) all.push_back(run);
  }
  EXPECT_EQ(pool.used(), 2000U);
  std::sort(all.begin(), all.end(),
            [](const SlotRun& a, const SlotRun& b) { return a.first < b.first; });
  std::uint32_t next = 0;
  for (const auto& run : all) {
    EXPECT_EQ(run.first, next);
    next = run.first + run.size;
  }
  EXPECT_EQ(next, 2000U);
}

TEST(SlotPool, DoesNotAdoptRunsThatLie) {
  SlotPool pool(1000);
  const std::vector<SlotRun> used{
      {.first = 0, .size = 60},            // no such size
      {.first = 0, .size = 0},             // none
      {.first = 10, .size = 61},           // as it should be
      {.first = 70, .size = 61},           // begins in the one before
      {.first = 960, .size = 61},          // ends behind the end
      {.first = UINT32_MAX, .size = 251},  // far behind it
  };
  const auto kept = pool.adopt(used);
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].first, 10U);
  EXPECT_EQ(pool.used(), 61U);
}

RC_GTEST_PROP(SlotPool, RunsInUseNeverOverlap, ()) {
  const auto slots = *rc::gen::inRange<std::uint32_t>(0, 5000);
  SlotPool pool(slots);
  std::vector<SlotRun> used;
  std::vector<std::pair<SlotRun, std::int64_t>> given;
  std::int64_t now = 0;
  for (int step = 0; step < 100; ++step) {
    now += *rc::gen::inRange<std::int64_t>(0, kRestMs);
    if (*rc::gen::inRange(0, 3) != 0 || used.empty()) {
      const auto size = *rc::gen::elementOf(SlotPool::kSizes);
      const auto run = pool.take(size, at(now));
      if (run.size == 0) continue;
      RC_ASSERT(run.size == size);
      RC_ASSERT(run.first + run.size <= slots);
      for (const auto& other : used) RC_ASSERT(!overlap(run, other));
      for (const auto& [other, since] : given) {
        RC_ASSERT(now - since >= kRestMs || !overlap(run, other));
      }
      used.push_back(run);
    } else {
      const auto which = *rc::gen::inRange<std::size_t>(0, used.size());
      pool.give(used[which], at(now));
      given.emplace_back(used[which], now);
      used.erase(used.begin() + static_cast<std::ptrdiff_t>(which));
    }
    std::uint32_t sum = 0;
    for (const auto& run : used) sum += run.size;
    RC_ASSERT(pool.used() == sum);
  }
}

}  // namespace
}  // namespace lb::engine
