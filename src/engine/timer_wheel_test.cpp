// SPDX-License-Identifier: Apache-2.0
#include "engine/timer_wheel.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace lb::engine {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Timestamp at(Duration since_start) { return Timestamp{since_start}; }

// What a timer may be set for and still not fire early.
constexpr Duration kNear = TimerWheel::kTick * 65535;

// The same with a map, checking each answer of the wheel against what must and may be due. Timers
// that were set for long and fire early are armed again, as their owner does.
class CheckedWheel {
 public:
  CheckedWheel(std::uint32_t capacity, Timestamp start)
      : wheel_(capacity, start), settled_(start) {}

  void arm(std::uint32_t index, Timestamp when) {
    wheel_.arm(index, when);
    armed_[index] = {when, settled_};
  }
  void disarm(std::uint32_t index) {
    wheel_.disarm(index);
    armed_.erase(index);
  }
  /// Takes at most `limit` timers; returns whether all answers were right.
  [[nodiscard]] testing::AssertionResult take(Timestamp now, std::size_t limit = SIZE_MAX) {
    for (; limit != 0; --limit) {
      const std::uint32_t index = wheel_.next_due(now);
      if (index == 0) break;
      const auto found = armed_.find(index);
      if (found == armed_.end()) return testing::AssertionFailure() << index << " was not armed";
      if (wheel_.is_armed(index)) return testing::AssertionFailure() << index << " is still armed";
      const auto [when, since] = found->second;
      armed_.erase(found);
      if (when <= now) continue;
      if (when - since <= kNear) return testing::AssertionFailure() << index << " is early";
      ++early_;
      arm(index, when);
    }
    if (limit == 0) return testing::AssertionSuccess();
    settled_ = now;
    for (const auto& [index, entry] : armed_) {
      if (entry.when <= now - TimerWheel::kTick) {
        return testing::AssertionFailure() << index << " is more than a tick late";
      }
    }
    return none_is_lost();
  }
  [[nodiscard]] testing::AssertionResult none_is_lost() const {
    for (const auto& [index, entry] : armed_) {
      if (!wheel_.is_armed(index)) return testing::AssertionFailure() << index << " was lost";
    }
    return testing::AssertionSuccess();
  }
  [[nodiscard]] std::size_t size() const { return armed_.size(); }
  /// How many fired early.
  [[nodiscard]] std::size_t early() const { return early_; }

 private:
  struct Armed {
    Timestamp when;
    Timestamp since;
  };
  TimerWheel wheel_;
  Timestamp settled_;  // until when all that was due has been taken
  std::map<std::uint32_t, Armed> armed_;
  std::size_t early_ = 0;
};

TEST(TimerWheel, FiresAtTheTickAtOrAfterItsTime) {
  TimerWheel wheel(4, at(seconds(0)));
  wheel.arm(1, at(milliseconds(16)));
  wheel.arm(2, at(milliseconds(17)));
  EXPECT_EQ(wheel.next_due(at(milliseconds(16) - nanoseconds(1))), 0U);
  EXPECT_EQ(wheel.next_due(at(milliseconds(16))), 1U);
  EXPECT_FALSE(wheel.is_armed(1));
  EXPECT_TRUE(wheel.is_armed(2));
  EXPECT_EQ(wheel.next_due(at(milliseconds(31))), 0U);
  EXPECT_EQ(wheel.next_due(at(milliseconds(32))), 2U);
  EXPECT_EQ(wheel.next_due(at(hours(1))), 0U);
}

TEST(TimerWheel, WhatIsPastIsDueAtOnce) {
  TimerWheel wheel(4, at(seconds(100)));
  wheel.arm(1, at(seconds(99)));
  wheel.arm(2, at(seconds(-5)));
  wheel.arm(3, at(seconds(100)));
  std::set<std::uint32_t> due;
  for (int i = 0; i < 3; ++i) due.insert(wheel.next_due(at(seconds(100))));
  EXPECT_EQ(due, (std::set<std::uint32_t>{1, 2, 3}));
  EXPECT_EQ(wheel.next_due(at(seconds(100))), 0U);
}

TEST(TimerWheel, ReArmingReplaces) {
  TimerWheel wheel(2, at(seconds(0)));
  wheel.arm(1, at(seconds(900)));
  wheel.arm(1, at(seconds(3)));
  EXPECT_EQ(wheel.next_due(at(seconds(4))), 1U);
  EXPECT_EQ(wheel.next_due(at(seconds(1000))), 0U);
  wheel.arm(1, at(seconds(1003)));
  wheel.arm(1, at(seconds(1900)));
  EXPECT_EQ(wheel.next_due(at(seconds(1899))), 0U);
  EXPECT_EQ(wheel.next_due(at(seconds(1901))), 1U);
}

TEST(TimerWheel, ADueTimerCanBeDisarmedOrArmedAgain) {
  TimerWheel wheel(3, at(seconds(0)));
  for (std::uint32_t i = 1; i <= 3; ++i) wheel.arm(i, at(seconds(1)));
  const std::uint32_t first = wheel.next_due(at(seconds(2)));
  ASSERT_NE(first, 0U);
  const std::uint32_t second = first == 1 ? 2 : 1;
  const std::uint32_t third = 6 - first - second;
  wheel.disarm(second);
  wheel.arm(third, at(seconds(5)));
  wheel.disarm(second);
  EXPECT_EQ(wheel.next_due(at(seconds(2))), 0U);
  EXPECT_EQ(wheel.next_due(at(seconds(5) + milliseconds(16))), third);
}

TEST(TimerWheel, TheRestIsLeftForLater) {
  CheckedWheel wheel(1000, at(seconds(0)));
  for (std::uint32_t i = 1; i <= 1000; ++i) wheel.arm(i, at(milliseconds(i)));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(wheel.take(at(seconds(2 + i)), 10));
  EXPECT_EQ(wheel.size(), 0U);
}

// One timer in each reach of the wheel, met at its very tick and not before, and with few steps in
// between.
TEST(TimerWheel, FarTimesFireAtTheirTick) {
  const Duration tick = TimerWheel::kTick;
  const std::int64_t far[] = {1,
                              65535,
                              65536,
                              65537,
                              (1 << 24) - 1,
                              1 << 24,
                              (1 << 24) + 1,
                              (std::int64_t{1} << 32) - 1,
                              std::int64_t{1} << 32,
                              (std::int64_t{1} << 32) + 1,
                              (std::int64_t{5} << 32) + 12345};
  for (const Duration start : {Duration(0), Duration(seconds(777)), Duration(-seconds(3))}) {
    for (const std::int64_t ticks : far) {
      CheckedWheel wheel(1, at(start));
      // Up to a tick.
      const Timestamp when = at(tick * ((start + ticks * tick) / tick));
      wheel.arm(1, when);
      EXPECT_TRUE(wheel.take(when - nanoseconds(1))) << ticks;
      EXPECT_EQ(wheel.size(), 1U) << ticks;
      EXPECT_TRUE(wheel.take(when)) << ticks;
      EXPECT_EQ(wheel.size(), 0U) << ticks;
      EXPECT_LE(wheel.early(), 2 + static_cast<std::size_t>(ticks >> 32)) << ticks;
    }
  }
}

TEST(TimerWheel, FarTimesFireAtTheirTickWhenTimeGoesInSteps) {
  for (const Duration step : {Duration(milliseconds(10)), Duration(seconds(7))}) {
    CheckedWheel wheel(400, at(seconds(0)));
    for (std::uint32_t i = 1; i <= 400; ++i) wheel.arm(i, at(i * seconds(13)));
    for (Timestamp now = at(seconds(0)); now < at(seconds(5300)); now = now + step) {
      ASSERT_TRUE(wheel.take(now));
    }
    EXPECT_EQ(wheel.size(), 0U);
  }
}

// A far timer just within reach shares the slot of the turn that is now; it must wait a whole
// round, and near timers must not be taken along.
TEST(TimerWheel, TheLastSlotOfAFarWheelIsNotTheFirst) {
  const Duration tick = TimerWheel::kTick;
  for (const std::int64_t reach : {std::int64_t{1} << 24, std::int64_t{1} << 32}) {
    const Timestamp start = at(60000 * tick);
    CheckedWheel wheel(20, start);
    wheel.arm(1, start + (reach - 1) * tick);
    wheel.arm(2, start + (reach - 50000) * tick);
    for (std::uint32_t i = 3; i <= 20; ++i) wheel.arm(i, start + (i * 3500) * tick);
    for (int i = 1; i <= 100; ++i) ASSERT_TRUE(wheel.take(start + i * 700 * tick));
    EXPECT_EQ(wheel.size(), 2U);
    ASSERT_TRUE(wheel.take(start + (reach - 50001) * tick));
    EXPECT_EQ(wheel.size(), 2U);
    ASSERT_TRUE(wheel.take(start + (reach - 2) * tick));
    EXPECT_EQ(wheel.size(), 1U);
    ASSERT_TRUE(wheel.take(start + reach * tick));
    EXPECT_EQ(wheel.size(), 0U);
  }
}

TEST(TimerWheel, TheEndOfTimeIsHeldAndNotReached) {
  CheckedWheel wheel(2, at(seconds(0)));
  wheel.arm(1, at(Duration::max()));
  wheel.arm(2, at(Duration::min()));
  ASSERT_TRUE(wheel.take(at(seconds(0))));
  EXPECT_EQ(wheel.size(), 1U);
  ASSERT_TRUE(wheel.take(at(hours(24 * 365 * 100))));
  EXPECT_EQ(wheel.size(), 1U);
}

// The bound is generous: going through the ticks one by one would take hours.
TEST(TimerWheel, AJumpOfYearsOverNothingIsQuick) {
  TimerWheel wheel(3, at(seconds(0)));
  const auto begin = std::chrono::steady_clock::now();
  Timestamp now{};
  for (int i = 0; i < 1000; ++i) {
    wheel.arm(1, now + seconds(900));
    wheel.arm(2, now + hours(24 * 300));
    now = now + hours(24 * 30);
    ASSERT_EQ(wheel.next_due(now), 1U);
    const std::uint32_t second = wheel.next_due(now);
    ASSERT_TRUE(second == 0 || second == 2);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(5));
}

// A time as connections use it: mostly near, sometimes far, sometimes past.
Duration some_delay(std::mt19937_64& random) {
  constexpr Duration kScales[] = {milliseconds(40), seconds(3),    seconds(60),   seconds(900),
                                  seconds(1050),    seconds(7200), hours(24 * 4), hours(24 * 900)};
  const Duration scale = kScales[random() % std::size(kScales)];
  return Duration(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(scale.count()))) -
         milliseconds(random() % 4 == 0 ? 100 : 0);
}

TEST(TimerWheel, AHundredThousandRandomOperationsMatchAMap) {
  std::mt19937_64 random(20240601);
  constexpr std::uint32_t kTimers = 300;
  CheckedWheel wheel(kTimers, at(seconds(5)));
  Timestamp now = at(seconds(5));
  for (int i = 0; i < 100000; ++i) {
    const auto index = static_cast<std::uint32_t>(random() % kTimers) + 1;
    switch (random() % 8) {
      case 0:
        wheel.disarm(index);
        break;
      case 1:
        now = now + Duration(std::chrono::microseconds(random() % 50000));
        ASSERT_TRUE(wheel.take(now, random() % 3));
        break;
      case 2:
        now = now + (random() % 100 == 0 ? some_delay(random) + seconds(1)
                                         : Duration(milliseconds(random() % 2000)));
        ASSERT_TRUE(wheel.take(now)) << i;
        break;
      default:
        wheel.arm(index, now + some_delay(random));
    }
  }
  ASSERT_TRUE(wheel.none_is_lost());
  ASSERT_TRUE(wheel.take(now + hours(24 * 1000)));
  EXPECT_EQ(wheel.size(), 0U);
}

// Short sequences, which RapidCheck cuts down to the shortest that fails.
RC_GTEST_PROP(TimerWheel, MatchesAMap, ()) {
  const auto count = *rc::gen::inRange(1, 40);
  const auto start = *rc::gen::inRange<std::int64_t>(-5000, 2000000);
  CheckedWheel wheel(5, at(milliseconds(start)));
  Timestamp now = at(milliseconds(start));
  const auto span = [] {
    return milliseconds(std::int64_t{*rc::gen::inRange(0, 1000)} << *rc::gen::inRange(0, 28));
  };
  for (int i = 0; i < count; ++i) {
    const auto index = *rc::gen::inRange<std::uint32_t>(1, 6);
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        now = now + span();
        RC_ASSERT(wheel.take(now));
        break;
      case 1:
        wheel.disarm(index);
        break;
      default:
        wheel.arm(index, now + span());
    }
  }
  RC_ASSERT(wheel.take(now + hours(24 * 365 * 20)));
  RC_ASSERT(wheel.size() == 0U);
}

}  // namespace
}  // namespace lb::engine
