// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/stand_in_table.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace lb::engine {
namespace {

// Seeds as different as those of servers are.
std::uint64_t seed(std::uint32_t number) {
  std::uint64_t value = number * 0x9e3779b97f4a7c15ULL;
  value ^= value >> 29U;
  value *= 0xbf58476d1ce4e5b9ULL;
  return value ^ (value >> 32U);
}

std::vector<TableClaimant> claimants(const std::vector<std::int32_t>& weights) {
  std::vector<TableClaimant> all;
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    if (weights[i] != 0) all.push_back({.destination = i, .weight = weights[i], .seed = seed(i)});
  }
  return all;
}

std::vector<std::uint32_t> filled(std::size_t size, std::vector<TableClaimant> all) {
  std::vector<std::uint32_t> table(size, 0xdead);
  fill_table(table, std::move(all));
  return table;
}

std::map<std::uint32_t, std::size_t> shares(const std::vector<std::uint32_t>& table) {
  std::map<std::uint32_t, std::size_t> counts;
  for (const auto destination : table) ++counts[destination];
  return counts;
}

TEST(FillTable, OneServerNeedsOneSlot) {
  EXPECT_EQ(filled(1, {{.destination = 7, .weight = 100, .seed = 1}}),
            std::vector<std::uint32_t>{7});
  EXPECT_EQ(shares(filled(61, {{.destination = 7, .weight = 3, .seed = 1}})),
            (std::map<std::uint32_t, std::size_t>{{7, 61}}));
}

// Each claims one place a round, so that nobody has more than one above another.
TEST(FillTable, EqualWeightsGetEqualShares) {
  for (const std::size_t size : {251U, 1021U, 4093U}) {
    for (const auto& [destination, slots] : shares(filled(size, claimants({5, 5, 5, 5, 5, 5})))) {
      EXPECT_GE(slots, size / 6) << destination;
      EXPECT_LE(slots, size / 6 + 1) << destination;
    }
  }
}

TEST(FillTable, SharesFollowWeights) {
  const auto counts = shares(filled(1021, claimants({10, 20, 30, 40})));
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto fair = 1021.0 * (i + 1) / 10;
    EXPECT_NEAR(static_cast<double>(counts.at(i)), fair, 5) << i;
  }
}

TEST(FillTable, TheLeastWeightStillGetsAShare) {
  const auto counts = shares(filled(251, claimants({65535, 1, 65535})));
  EXPECT_GT(counts.at(1), 0U);
  EXPECT_GT(counts.at(0), 20 * counts.at(1));
}

TEST(FillTable, TheOrderOfServersDoesNotMatter) {
  auto all = claimants({1, 2, 3, 4, 5});
  const auto table = filled(251, all);
  std::reverse(all.begin(), all.end());
  EXPECT_EQ(filled(251, all), table);
}

// The paper's evaluation (section 5.3): with a table a hundred times as large as servers are many,
// a server that goes moves few places of others. Here at most one in ten of them.
TEST(FillTable, LittleMovesWhenAServerGoes) {
  const std::vector<std::int32_t> weights(10, 1);
  const auto before = filled(1021, claimants(weights));
  for (std::size_t gone = 0; gone < weights.size(); ++gone) {
    auto less = weights;
    less[gone] = 0;
    const auto after = filled(1021, claimants(less));
    std::size_t moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_NE(after[i], gone);
      if (before[i] != gone && before[i] != after[i]) ++moved;
    }
    EXPECT_LT(moved, before.size() / 10) << gone;
  }
}

RC_GTEST_PROP(FillTable, EveryPlaceHasOneOfTheServersAndEachServerAPlace, ()) {
  const auto size = *rc::gen::element<std::size_t>(61, 251, 1021, 4093);
  const auto most = std::min<std::size_t>(size / 4, 300);
  const auto count = *rc::gen::inRange<std::size_t>(1, most + 1);
  const auto weights =
      *rc::gen::container<std::vector<std::int32_t>>(count, rc::gen::inRange(1, 65536));
  const auto table = filled(size, claimants(weights));
  for (const auto destination : table) RC_ASSERT(destination < weights.size());
  // Of equal weights each has its turn in the first round.
  const auto equal = filled(size, claimants(std::vector<std::int32_t>(count, weights.front())));
  RC_ASSERT(shares(equal).size() == count);
}

}  // namespace
}  // namespace lb::engine
