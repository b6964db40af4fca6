// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

#include "engine/scheduler/factories.hpp"

namespace lb::engine {
namespace {

/// wrr: goes through the list again and again with a falling level, and takes the usable
/// destinations whose weight reaches it.
///
/// The level falls from the greatest weight by the greatest common divisor of the weights; the
/// last one is always 1 (so it starts at maximum - (step - 1)), then it starts anew. With the
/// weights a=4, b=3, c=2 the levels are 4 3 2 1 and the turns a, a b, a b c, a b c.
class WeightedRoundRobin final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext& context) override {
    measure(context);
    level_ = top_;
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    if (top_ == 0) return nullptr;
    const auto list = context.destinations;
    const std::size_t first = next_ = std::min(next_, list.size());
    std::size_t end = list.size();
    bool is_final = false;       // the pass under way is the last one to try, up to `first`
    bool is_last_level = false;  // a whole pass at the lowest level is under way
    bool has_restarted = false;
    std::int32_t greatest = -1;
    for (;;) {
      for (; next_ < end; ++next_) {
        if (reaches_level(*list[next_])) return list[next_++];
      }
      if (is_final) return nullptr;
      next_ = 0;
      level_ -= step_;
      if (level_ <= 0) {
        level_ = top_;
        if (is_last_level || first == 0) return nullptr;
        has_restarted = true;
      }
      if (greatest < 0) greatest = greatest_usable_weight(list);
      skip_levels_above(greatest);
      is_last_level = level_ <= step_;
      if (is_last_level && has_restarted) {
        is_final = true;
        end = first;
      }
    }
  }

  void destination_added(const SchedulingContext& context, Destination&) override {
    start_over(context);
  }
  void destination_removed(const SchedulingContext& context, Destination&) override {
    start_over(context);
  }
  void destination_updated(const SchedulingContext& context, Destination&) override {
    start_over(context);
  }

 private:
  [[nodiscard]] bool reaches_level(const Destination& destination) const noexcept {
    return !destination.is_overloaded && destination.weight() >= level_;
  }

  [[nodiscard]] static std::int32_t greatest_usable_weight(
      std::span<Destination* const> list) noexcept {
    std::int32_t greatest = 0;
    for (const Destination* destination : list) {
      if (destination->is_usable()) greatest = std::max(greatest, destination->weight());
    }
    return greatest;
  }

  /// Leaves out whole passes that can find nothing: with weights 1 and 2^31 - 1, the heavy one
  /// being overloaded, there are two thousand million of them.
  void skip_levels_above(std::int32_t greatest) noexcept {
    const std::int32_t floor = std::max(greatest, step_);
    if (level_ > floor) level_ -= (level_ - floor) / step_ * step_;
  }

  void measure(const SchedulingContext& context) noexcept {
    std::int32_t divisor = 0;
    std::int32_t greatest = 0;
    for (const Destination* destination : context.destinations) {
      if (destination->weight() <= 0) continue;
      divisor = std::gcd(divisor, destination->weight());
      greatest = std::max(greatest, destination->weight());
    }
    step_ = divisor > 0 ? divisor : 1;
    top_ = greatest - (step_ - 1);
    next_ = 0;
  }

  void start_over(const SchedulingContext& context) noexcept {
    measure(context);
    if (level_ > top_ || level_ == 0) {
      level_ = top_;
    } else if (step_ > 1) {
      level_ = level_ / step_ * step_ + 1;
    }
  }

  std::size_t next_ = 0;    ///< where to go on: one after the destination chosen last
  std::int32_t level_ = 0;  ///< weight that a destination needs now
  std::int32_t top_ = 0;    ///< the first level; 0: every weight is 0
  std::int32_t step_ = 1;
};

}  // namespace

std::unique_ptr<Scheduler> make_weighted_round_robin() {
  return std::make_unique<WeightedRoundRobin>();
}

}  // namespace lb::engine
