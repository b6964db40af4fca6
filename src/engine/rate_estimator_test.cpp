// SPDX-License-Identifier: Apache-2.0
#include "engine/rate_estimator.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <vector>

namespace lb::engine {
namespace {

// As the engine uses it, at a tick of its own.
class Ticking {
 public:
  [[nodiscard]] model::Counters& counters() { return estimator_.counters(tick_); }
  void tick() { ++tick_; }
  void zero() { estimator_.zero(tick_); }
  [[nodiscard]] model::Statistics shown() const { return estimator_.shown(tick_); }

 private:
  RateEstimator estimator_;
  std::uint64_t tick_ = 0;
};

TEST(RateEstimator, AStepReaches44PercentAfterTwoIntervalsAnd90AfterEight) {
  Ticking estimator;
  std::vector<std::uint64_t> shown;
  for (int i = 0; i < 8; ++i) {
    estimator.counters().packets_in += 20000;  // 10,000 a second
    estimator.counters().bytes_in += 20000;
    estimator.tick();
    EXPECT_EQ(estimator.shown().rates.packets_in, estimator.shown().rates.bytes_in);
    shown.push_back(estimator.shown().rates.packets_in);
  }
  // 10000 * (1 - 0.75^n), rounded.
  EXPECT_EQ(shown, (std::vector<std::uint64_t>{2500, 4375, 5781, 6836, 7627, 8220, 8665, 8999}));
}

TEST(RateEstimator, OneConnectionIsTooLittleToShow) {
  Ticking estimator;
  estimator.counters().connections = 1;  // 2^9 / 4 = 128; (128 + 511) / 1024 = 0
  estimator.tick();
  EXPECT_EQ(estimator.shown().rates.connections, 0U);
  EXPECT_EQ(estimator.shown().counters.connections, 1U);
}

TEST(RateEstimator, RoundsHalfDown) {
  Ticking connections;
  connections.counters().connections = 4;  // 4 * 512 / 4 = 512: one half
  connections.tick();
  EXPECT_EQ(connections.shown().rates.connections, 0U);
  Ticking bytes;
  bytes.counters().bytes_out = 12;  // 12 * 16 / 4 = 48: one and a half
  bytes.tick();
  EXPECT_EQ(bytes.shown().rates.bytes_out, 1U);
}

TEST(RateEstimator, ZeroHidesWhatWasAndStartsRatesAnew) {
  Ticking estimator;
  estimator.counters() = {.connections = 100,
                          .packets_in = 1000,
                          .packets_out = 900,
                          .bytes_in = 100000,
                          .bytes_out = 900000};
  estimator.tick();
  estimator.counters().connections += 5;
  estimator.zero();
  EXPECT_EQ(estimator.shown(), model::Statistics{});
  EXPECT_EQ(estimator.counters().connections, 105U);
  estimator.tick();
  EXPECT_EQ(estimator.shown(), model::Statistics{});
  estimator.counters().packets_out += 80;
  estimator.tick();
  EXPECT_EQ(estimator.shown().counters, (model::Counters{.packets_out = 80}));
  EXPECT_EQ(estimator.shown().rates, (model::Rates{.packets_out = 10}));
}

RC_GTEST_PROP(RateEstimator, IsNearTheExactAverage, (const std::vector<std::uint32_t>& deltas)) {
  Ticking estimator;
  double packets = 0;
  for (const std::uint32_t delta : deltas) {
    estimator.counters().packets_out += delta;
    estimator.counters().bytes_out += delta;
    estimator.tick();
    packets += (delta / 2.0 - packets) / 4;
  }
  const auto shown = estimator.shown();
  // Each tick loses less than a unit of the last bit, of which 3/4 stay: less than four in all.
  RC_ASSERT(std::abs(static_cast<double>(shown.rates.packets_out) - packets) < 0.5 + 5.0 / 1024);
  RC_ASSERT(std::abs(static_cast<double>(shown.rates.bytes_out) - packets) < 0.5 + 5.0 / 32);
}

RC_GTEST_PROP(RateEstimator, FallsToZeroAndNotBelow, (std::uint32_t packets)) {
  Ticking estimator;
  estimator.counters().packets_in = packets;
  std::uint64_t before = ~std::uint64_t{0};
  for (int i = 0; i < 200; ++i) {
    estimator.tick();
    RC_ASSERT(estimator.shown().rates.packets_in <= before);
    before = estimator.shown().rates.packets_in;
  }
  RC_ASSERT(before == 0U);
}

// The averages as IPVS updates them, at every tick.
struct Eager {
  std::uint64_t last = 0;
  std::uint64_t value = 0;
  void tick(std::uint64_t count, unsigned bits) {
    const std::uint64_t rate = (count - last) << (bits - 1);
    last = count;
    value += static_cast<std::uint64_t>(static_cast<std::int64_t>(rate - value) >> 2);
  }
  [[nodiscard]] std::uint64_t shown(unsigned bits) const {
    return (value + (std::uint64_t{1} << (bits - 1)) - 1) >> bits;
  }
};

// However seldom it is counted with and read, it shows what it would if it were updated at every
// tick; also after a zero, and after a time in which it stood still.
RC_GTEST_PROP(RateEstimator, IsAsIfUpdatedAtEveryTick, ()) {
  RateEstimator lazy;
  std::uint64_t tick = 0;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  Eager eager_packets;
  Eager eager_bytes;
  const auto steps = *rc::gen::inRange(1, 200);
  for (int i = 0; i < steps; ++i) {
    switch (*rc::gen::inRange(0, 6)) {
      case 0:
      case 1: {
        const auto count = *rc::gen::inRange<std::uint64_t>(0, 1U << 30U);
        lazy.counters(tick).packets_in += count;
        lazy.counters(tick).bytes_out += count * 1500;
        packets += count;
        bytes += count * 1500;
        break;
      }
      case 2:
      case 3:
        for (auto ticks = *rc::gen::inRange(1, 300); ticks != 0; --ticks) {
          ++tick;
          eager_packets.tick(packets, 10);
          eager_bytes.tick(bytes, 5);
        }
        break;
      case 4:
        lazy.zero(tick);
        eager_packets = {.last = packets};
        eager_bytes = {.last = bytes};
        break;
      default:
        lazy.catch_up(tick);
        tick += *rc::gen::inRange<std::uint64_t>(0, 10);
        lazy.resume(tick);
    }
    if (*rc::gen::inRange(0, 3) == 0) {
      RC_ASSERT(lazy.shown(tick).rates.packets_in == eager_packets.shown(10));
      RC_ASSERT(lazy.shown(tick).rates.bytes_out == eager_bytes.shown(5));
    }
  }
}

}  // namespace
}  // namespace lb::engine
