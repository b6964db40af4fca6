// SPDX-License-Identifier: Apache-2.0
#include "engine/rate_estimator.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <vector>

namespace lb::engine {
namespace {

TEST(RateEstimator, AStepReaches44PercentAfterTwoIntervalsAnd90AfterEight) {
  RateEstimator estimator;
  std::vector<std::uint64_t> shown;
  for (int i = 0; i < 8; ++i) {
    estimator.counters.packets_in += 20000;  // 10,000 a second
    estimator.counters.bytes_in += 20000;
    estimator.tick();
    EXPECT_EQ(estimator.shown().rates.packets_in, estimator.shown().rates.bytes_in);
    shown.push_back(estimator.shown().rates.packets_in);
  }
  // 10000 * (1 - 0.75^n), rounded.
  EXPECT_EQ(shown, (std::vector<std::uint64_t>{2500, 4375, 5781, 6836, 7627, 8220, 8665, 8999}));
}

TEST(RateEstimator, OneConnectionIsTooLittleToShow) {
  RateEstimator estimator;
  estimator.counters.connections = 1;  // 2^9 / 4 = 128; (128 + 511) / 1024 = 0
  estimator.tick();
  EXPECT_EQ(estimator.shown().rates.connections, 0U);
  EXPECT_EQ(estimator.shown().counters.connections, 1U);
}

TEST(RateEstimator, RoundsHalfDown) {
  RateEstimator connections;
  connections.counters.connections = 4;  // 4 * 512 / 4 = 512: one half
  connections.tick();
  EXPECT_EQ(connections.shown().rates.connections, 0U);
  RateEstimator bytes;
  bytes.counters.bytes_out = 12;  // 12 * 16 / 4 = 48: one and a half
  bytes.tick();
  EXPECT_EQ(bytes.shown().rates.bytes_out, 1U);
}

TEST(RateEstimator, ZeroHidesWhatWasAndStartsRatesAnew) {
  RateEstimator estimator;
  estimator.counters = {.connections = 100,
                        .packets_in = 1000,
                        .packets_out = 900,
                        .bytes_in = 100000,
                        .bytes_out = 900000};
  estimator.tick();
  estimator.counters.connections += 5;
  estimator.zero();
  EXPECT_EQ(estimator.shown(), model::Statistics{});
  EXPECT_EQ(estimator.counters.connections, 105U);
  estimator.tick();
  EXPECT_EQ(estimator.shown(), model::Statistics{});
  estimator.counters.packets_out += 80;
  estimator.tick();
  EXPECT_EQ(estimator.shown().counters, (model::Counters{.packets_out = 80}));
  EXPECT_EQ(estimator.shown().rates, (model::Rates{.packets_out = 10}));
}

RC_GTEST_PROP(RateEstimator, IsNearTheExactAverage, (const std::vector<std::uint32_t>& deltas)) {
  RateEstimator estimator;
  double packets = 0;
  for (const std::uint32_t delta : deltas) {
    estimator.counters.packets_out += delta;
    estimator.counters.bytes_out += delta;
    estimator.tick();
    packets += (delta / 2.0 - packets) / 4;
  }
  const auto shown = estimator.shown();
  // Each tick loses less than a unit of the last bit, of which 3/4 stay: less than four in all.
  RC_ASSERT(std::abs(static_cast<double>(shown.rates.packets_out) - packets) < 0.5 + 5.0 / 1024);
  RC_ASSERT(std::abs(static_cast<double>(shown.rates.bytes_out) - packets) < 0.5 + 5.0 / 32);
}

RC_GTEST_PROP(RateEstimator, FallsToZeroAndNotBelow, (std::uint32_t packets)) {
  RateEstimator estimator;
  estimator.counters.packets_in = packets;
  std::uint64_t before = ~std::uint64_t{0};
  for (int i = 0; i < 200; ++i) {
    estimator.tick();
    RC_ASSERT(estimator.shown().rates.packets_in <= before);
    before = estimator.shown().rates.packets_in;
  }
  RC_ASSERT(before == 0U);
}

}  // namespace
}  // namespace lb::engine
