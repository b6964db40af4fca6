// SPDX-License-Identifier: Apache-2.0
// rr and wrr against slow models, and what users rely on.
#include <gtest/gtest.h>

#include <limits>
#include <list>
#include <map>
#include <numeric>
#include <random>

#include "engine/scheduler/fixture.hpp"

namespace lb::engine {
namespace {

using testing::TestService;

TEST(RoundRobin, TakesTurnsNewestFirstAndSkipsUnusable) {
  TestService service("rr");
  Destination& a = service.add(1, 1);
  Destination& b = service.add(2, 9);
  Destination& c = service.add(3, 1);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(service.pick(), &c);
    EXPECT_EQ(service.pick(), &b);
    EXPECT_EQ(service.pick(), &a);
  }
  b.is_overloaded = true;
  EXPECT_EQ(service.pick(), &c);
  EXPECT_EQ(service.pick(), &a);
}

TEST(RoundRobin, AddedDestinationWaitsForTheNextRound) {
  TestService service("rr");
  Destination& a = service.add(1, 1);
  Destination& b = service.add(2, 1);
  EXPECT_EQ(service.pick(), &b);
  Destination& c = service.add(3, 1);
  EXPECT_EQ(service.pick(), &a);
  EXPECT_EQ(service.pick(), &c);
}

TEST(RoundRobin, RemovalUnderTheCursorSkipsNobody) {
  TestService service("rr");
  Destination& a = service.add(1, 1);
  Destination& b = service.add(2, 1);
  Destination& c = service.add(3, 1);
  EXPECT_EQ(service.pick(), &c);
  EXPECT_EQ(service.pick(), &b);
  service.destroy(b);
  EXPECT_EQ(service.pick(), &a);
  EXPECT_EQ(service.pick(), &c);
  service.destroy(c);
  EXPECT_EQ(service.pick(), &a);
  EXPECT_EQ(service.pick(), &a);
}

/// A linked list with a cursor that is the head or an element.
class RoundRobinModel {
 public:
  void add(Destination* destination) { list_.push_front(destination); }
  void remove(Destination* destination) {
    const auto place = std::find(list_.begin(), list_.end(), destination);
    if (cursor_ == place) cursor_ = place == list_.begin() ? list_.end() : std::prev(place);
    list_.erase(place);
  }
  Destination* pick() {
    auto place = cursor_;
    for (std::size_t i = 0; i < list_.size() + 1; ++i) {
      place = place == list_.end() ? list_.begin() : std::next(place);
      if (place != list_.end() && (*place)->is_usable()) return *(cursor_ = place);
    }
    return nullptr;
  }

 private:
  std::list<Destination*> list_;
  std::list<Destination*>::iterator cursor_ = list_.end();
};

/// Level by level, place by place, as wrr is defined; never leaves out a pass.
class WeightedRoundRobinModel {
 public:
  explicit WeightedRoundRobinModel(TestService& service) : service_(service) {}

  void changed() {
    measure();
    cursor_ = -1;
    if (level_ > top_ || level_ == 0) {
      level_ = top_;
    } else if (step_ > 1) {
      level_ = level_ / step_ * step_ + 1;
    }
  }

  Destination* pick() {
    const auto& list = service_.list();
    const int size = static_cast<int>(list.size());
    if (top_ == 0) return nullptr;
    const int last = cursor_;
    int stop = size;  // none
    bool is_last_pass = false;
    bool has_restarted = false;
    for (;;) {
      while (++cursor_ < size) {
        const Destination& destination = *list[static_cast<std::size_t>(cursor_)];
        if (!destination.is_overloaded && destination.weight() >= level_) {
          return list[static_cast<std::size_t>(cursor_)];
        }
        if (cursor_ == stop) return nullptr;
      }
      cursor_ = -1;
      level_ -= step_;
      if (level_ <= 0) {
        level_ = top_;
        if (is_last_pass || last == -1) return nullptr;
        has_restarted = true;
      }
      is_last_pass = level_ <= step_;
      if (is_last_pass && has_restarted) stop = last;
    }
  }

 private:
  void measure() {
    int divisor = 0;
    int greatest = 0;
    for (const Destination* destination : service_.list()) {
      divisor = std::gcd(divisor, destination->weight());
      greatest = std::max(greatest, destination->weight());
    }
    step_ = divisor == 0 ? 1 : divisor;
    top_ = greatest - (step_ - 1);
  }

  TestService& service_;
  int cursor_ = -1;
  int level_ = 0;
  int top_ = 0;
  int step_ = 1;
};

template <class Model, class OnAdd, class OnRemove, class OnEdit>
void compare_with_model(TestService& service, Model& model, unsigned seed, OnAdd on_add,
                        OnRemove on_remove, OnEdit on_edit) {
  std::mt19937 random(seed);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  const int scale = static_cast<int>(below(3)) * 5 + 1;
  const auto weight = [&] { return static_cast<std::int32_t>(below(8)) * scale; };
  std::uint32_t number = 0;
  for (int step = 0; step < 1000; ++step) {
    const auto& list = service.list();
    const auto action = below(24);
    if (list.empty() || (action == 0 && list.size() < 12)) {
      on_add(service.add(++number, weight()));
    } else if (action == 1) {
      Destination& destination = *list[below(list.size())];
      on_remove(destination);
      service.remove(destination);
      if constexpr (std::is_same_v<Model, WeightedRoundRobinModel>) model.changed();
    } else if (action == 2) {
      service.edit(*list[below(list.size())], weight());
      on_edit();
    } else if (action < 6) {
      Destination* destination = list[below(list.size())];
      destination->is_overloaded = !destination->is_overloaded;
    } else {
      ASSERT_EQ(service.pick(), model.pick()) << "seed " << seed << ", step " << step;
    }
  }
}

TEST(RoundRobin, AgreesWithModel) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    TestService service("rr");
    RoundRobinModel model;
    compare_with_model(
        service, model, seed, [&](Destination& added) { model.add(&added); },
        [&](Destination& removed) { model.remove(&removed); }, [] {});
  }
}

TEST(WeightedRoundRobin, AgreesWithModel) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    TestService service("wrr");
    WeightedRoundRobinModel model(service);
    compare_with_model(
        service, model, seed, [&](Destination&) { model.changed(); }, [](Destination&) {},
        [&] { model.changed(); });
  }
}

TEST(WeightedRoundRobin, GivesEachItsShareInEveryRound) {
  TestService service("wrr");
  const std::vector<std::int32_t> weights{40, 0, 30, 20, 10, 30};
  std::map<const Destination*, int> wanted;
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    wanted[&service.add(i + 1, weights[i])] = weights[i] / 10;
  }
  for (int round = 0; round < 5; ++round) {
    std::map<const Destination*, int> got;
    for (int i = 0; i < 13; ++i) ++got[service.pick()];
    for (const auto& [destination, count] : wanted) EXPECT_EQ(got[destination], count);
  }
}

TEST(WeightedRoundRobin, FindsTheLightOneBesideAnOverloadedHeavyOneAtOnce) {
  TestService service("wrr");
  Destination& light = service.add(1, 1);
  Destination& heavy = service.add(2, std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(service.pick(), &heavy);
  heavy.is_overloaded = true;
  for (int i = 0; i < 100000; ++i) ASSERT_EQ(service.pick(), &light);
}

}  // namespace
}  // namespace lb::engine
