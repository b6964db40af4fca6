// SPDX-License-Identifier: Apache-2.0
// What holds for every scheduler.
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

#include "engine/allocation_counter.hpp"
#include "engine/scheduler/fixture.hpp"
#include "model/service.hpp"

namespace lb::engine {
namespace {

using testing::TestService;

class EveryScheduler : public ::testing::TestWithParam<const char*> {
 protected:
  EveryScheduler() : service_(GetParam()) {}

  /// Another client of another virtual address for each number.
  Destination* pick(std::uint32_t number) {
    service_.input.client = net::IpAddress::v4(net::Be32::from_host(0xc6336400 + number));
    service_.input.client_port = net::Port::from_host(static_cast<std::uint16_t>(1024 + number));
    return service_.pick_for_virtual(0xc0000200 + number % 256);
  }

  TestService service_;
};

TEST_P(EveryScheduler, HasNoChoiceWithoutDestinations) {
  ASSERT_TRUE(service_.is_bound);
  EXPECT_EQ(pick(1), nullptr);
  Destination& only = service_.add(1, 1);
  service_.destroy(only);
  EXPECT_EQ(pick(1), nullptr);
}

TEST_P(EveryScheduler, HasNoChoiceIfAllWeightsAreZero) {
  for (std::uint32_t i = 1; i <= 5; ++i) service_.add(i, 0);
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(pick(i), nullptr);
}

TEST_P(EveryScheduler, UsesTheOnlyDestination) {
  Destination& only = service_.add(1, 3);
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(pick(i), &only);
  only.is_overloaded = true;
  EXPECT_EQ(pick(200), nullptr);
  only.is_overloaded = false;
  EXPECT_EQ(pick(200), &only);
  service_.edit(only, 0);
  EXPECT_EQ(pick(201), nullptr);
  service_.edit(only, 1);
  EXPECT_EQ(pick(202), &only);
}

TEST_P(EveryScheduler, BindsToDestinationsThatAreThereAlready) {
  TestService service("rr");
  for (std::uint32_t i = 1; i <= 20; ++i) service.add(i, 1);
  service.use(GetParam());
  ASSERT_TRUE(service.is_bound);
  EXPECT_NE(service.pick(), nullptr);
}

TEST_P(EveryScheduler, TakesGreatestWeights) {
  constexpr auto kMost = std::numeric_limits<std::int32_t>::max();
  for (std::uint32_t i = 1; i <= 10; ++i) service_.add(i, i % 2 == 0 ? kMost : 1);
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_NE(pick(i), nullptr);
  service_.context.flags = model::kServiceSched1;
  for (Destination* destination : service_.list()) destination->is_overloaded = true;
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(pick(i + 100), nullptr);
}

TEST_P(EveryScheduler, HasChoicesAmongAThousand) {
  for (std::uint32_t i = 1; i <= 1000; ++i) service_.add(i, static_cast<std::int32_t>(i % 7 + 1));
  for (std::uint32_t i = 0; i < 5000; ++i) {
    Destination* destination = pick(i);
    ASSERT_NE(destination, nullptr);
    ++destination->active_connections;
  }
}

/// Memory of removed destinations is freed: under AddressSanitizer a pointer kept too long
/// ends this test.
TEST_P(EveryScheduler, NeverChoosesWhatIsRemovedOrUnusable) {
  std::mt19937 random(7);
  const auto below = [&random](std::size_t limit) {
    return static_cast<std::uint32_t>(random() % limit);
  };
  service_.context.flags = model::kServiceSched1 | model::kServiceSched2;
  std::uint32_t number = 0;
  for (int step = 0; step < 4000; ++step) {
    const auto& list = service_.list();
    const auto action = below(20);
    if (action == 0 || list.empty()) {
      service_.add(++number, static_cast<std::int32_t>(below(6)));
    } else if (action == 1 && list.size() > 3) {
      service_.destroy(*list[below(list.size())]);
    } else if (action == 2) {
      service_.edit(*list[below(list.size())], static_cast<std::int32_t>(below(6)));
    } else if (action == 3) {
      Destination* destination = list[below(list.size())];
      destination->is_overloaded = !destination->is_overloaded;
    } else if (action == 4) {
      service_.sweep();
    } else if (Destination* chosen = pick(below(1000)); chosen != nullptr) {
      ASSERT_NE(std::find(list.begin(), list.end(), chosen), list.end());
      ASSERT_GT(chosen->weight(), 0);
      // lblc stays with a destination over its threshold, as in the kernel.
      if (GetParam() != std::string("lblc")) {
        ASSERT_FALSE(chosen->is_overloaded);
      }
      chosen->active_connections = below(10);
      chosen->inactive_connections = below(1000);
    }
    service_.context.now = service_.context.now + std::chrono::minutes(1);
  }
}

TEST_P(EveryScheduler, DoesNotAllocateWhenScheduling) {
  for (std::uint32_t i = 1; i <= 10; ++i) service_.add(i, static_cast<std::int32_t>(i));
  const test::AllocationCounter counter;
  for (std::uint32_t i = 0; i < 30000; ++i) {
    service_.input.client = net::IpAddress::v4(net::Be32::from_host(i));
    Destination* chosen = service_.pick_for_virtual(i);
    if (chosen != nullptr) ++chosen->active_connections;
  }
  EXPECT_EQ(counter.count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, EveryScheduler,
                         ::testing::Values("rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh",
                                           "sh", "mh", "lblc", "lblcr", "twos"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(SchedulerRegistry, KnowsNoOtherNames) {
  for (const char* name : {"", "none", "RR", "rr ", "wlcx", "w"}) {
    EXPECT_EQ(make_scheduler(name, 1), nullptr) << name;
  }
}

}  // namespace
}  // namespace lb::engine
