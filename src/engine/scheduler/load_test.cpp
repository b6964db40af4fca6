// SPDX-License-Identifier: Apache-2.0
// lc, wlc, sed, nq, fo, ovf and twos: the choice by load and weight.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>
#include <ostream>
#include <random>

#include "engine/scheduler/fixture.hpp"

namespace lb::engine {
namespace {

using testing::TestService;
using Better = std::function<bool(const Destination&, const Destination&)>;

struct Rule {
  const char* name;
  std::function<bool(const Destination&)> may_be_used;
  Better is_better;  ///< strictly
};

std::ostream& operator<<(std::ostream& out, const Rule& rule) { return out << rule.name; }

double overhead_of(const Destination& d) {
  return 256.0 * d.active_connections + d.inactive_connections;
}
bool is_usable(const Destination& d) { return d.is_usable(); }

const Rule kRules[] = {
    {"lc", is_usable, [](const auto& a, const auto& b) { return overhead_of(a) < overhead_of(b); }},
    {"wlc", is_usable,
     [](const auto& a, const auto& b) {
       return overhead_of(a) * b.weight() < overhead_of(b) * a.weight();
     }},
    {"sed", is_usable,
     [](const auto& a, const auto& b) {
       return (a.active_connections + 1.0) * b.weight() < (b.active_connections + 1.0) * a.weight();
     }},
    {"nq", is_usable,
     [](const auto& a, const auto& b) {
       if (b.active_connections == 0) return false;
       if (a.active_connections == 0) return true;
       return (a.active_connections + 1.0) * b.weight() < (b.active_connections + 1.0) * a.weight();
     }},
    {"fo", is_usable, [](const auto& a, const auto& b) { return a.weight() > b.weight(); }},
    {"ovf",
     [](const Destination& d) {
       return d.is_usable() && std::int64_t{d.active_connections} <= d.weight();
     },
     [](const auto& a, const auto& b) { return a.weight() > b.weight(); }},
};

class LoadRule : public ::testing::TestWithParam<Rule> {};

/// The choice is usable, nobody is better, and nobody before it is as good.
TEST_P(LoadRule, ChoosesTheFirstOfTheBest) {
  const Rule& rule = GetParam();
  std::mt19937 random(11);
  const auto below = [&random](std::uint32_t limit) {
    return static_cast<std::uint32_t>(random() % limit);
  };
  for (int round = 0; round < 2000; ++round) {
    TestService service(rule.name);
    const std::uint32_t count = 1 + below(8);
    for (std::uint32_t i = 1; i <= count; ++i) {
      Destination& added = service.add(i, static_cast<std::int32_t>(below(5)));
      added.active_connections = below(5);
      added.inactive_connections = below(2) * 256 * below(4) + below(3);
      added.is_overloaded = below(5) == 0;
    }
    const Destination* wanted = nullptr;
    for (const Destination* candidate : service.list()) {
      if (!rule.may_be_used(*candidate)) continue;
      if (wanted == nullptr || rule.is_better(*candidate, *wanted)) wanted = candidate;
    }
    ASSERT_EQ(service.pick(), wanted) << "round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(All, LoadRule, ::testing::ValuesIn(kRules),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(WeightedLeastConnection, ProductsDoNotOverflow) {
  TestService service("wlc");
  constexpr auto kMost = std::numeric_limits<std::int32_t>::max();
  Destination& idle = service.add(1, kMost);
  Destination& busy = service.add(2, kMost);
  idle.active_connections = 1U << 31;
  busy.active_connections = (1U << 31) + (1U << 30);
  EXPECT_EQ(service.pick(), &idle);
}

TEST(Overflow, RefusesWhenAllAreFull) {
  TestService service("ovf");
  Destination& only = service.add(1, 2);
  only.active_connections = 2;
  EXPECT_EQ(service.pick(), &only);
  only.active_connections = 3;
  EXPECT_EQ(service.pick(), nullptr);
}

TEST(TwoChoices, DrawsBySharesOfWeight) {
  TestService service("twos");
  Destination& light = service.add(1, 100);
  Destination& heavy = service.add(2, 300);
  Destination& none = service.add(3, 0);
  std::map<const Destination*, int> got;
  // With equal overhead the first draw decides, so that the counts are those of the draw.
  for (int i = 0; i < 40000; ++i) ++got[service.pick()];
  EXPECT_NEAR(got[&light], 10000, 500);
  EXPECT_NEAR(got[&heavy], 30000, 500);
  EXPECT_EQ(got[&none], 0);
}

TEST(TwoChoices, TakesTheLessBusyOfTheTwo) {
  TestService service("twos");
  Destination& busy = service.add(1, 100);
  Destination& idle = service.add(2, 100);
  busy.active_connections = 50;
  int chosen_busy = 0;
  for (int i = 0; i < 40000; ++i) chosen_busy += service.pick() == &busy ? 1 : 0;
  // Only when both draws fall on it: one in four.
  EXPECT_NEAR(chosen_busy, 10000, 500);
  busy.active_connections = 0;
  idle.inactive_connections = 1;
  int chosen_idle = 0;
  for (int i = 0; i < 40000; ++i) chosen_idle += service.pick() == &idle ? 1 : 0;
  EXPECT_NEAR(chosen_idle, 10000, 500);
}

TEST(TwoChoices, FirstHasTheZeroToo) {
  TestService service("twos");
  Destination& second = service.add(1, 1);
  Destination& first = service.add(2, 1);
  int chosen_first = 0;
  for (int i = 0; i < 30000; ++i) chosen_first += service.pick() == &first ? 1 : 0;
  EXPECT_NEAR(chosen_first, 20000, 500);  // 0 and 1 of {0, 1, 2}
  EXPECT_NE(&first, &second);
}

TEST(TwoChoices, SameSeedSameChoices) {
  TestService one("twos");
  TestService other("twos");
  for (std::uint32_t i = 1; i <= 50; ++i) {
    one.add(i, static_cast<std::int32_t>(i));
    other.add(i, static_cast<std::int32_t>(i));
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(one.pick()->spec.address, other.pick()->spec.address);
  }
}

}  // namespace
}  // namespace lb::engine
