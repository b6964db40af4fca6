// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// twos: the less busy of two destinations drawn by lot (Mitzenmacher, "The Power of Two Choices
/// in Randomized Load Balancing"), the chance of each being its share of the weights.
class TwoChoices final : public Scheduler {
 public:
  explicit TwoChoices(std::uint64_t seed) : state_(seed) {}

  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    std::uint64_t total = 0;
    for (const Destination* destination : context.destinations) {
      if (destination->is_usable()) total += share(*destination);
    }
    if (total == 0) return nullptr;
    Destination* one = draw(context, total);
    Destination* other = draw(context, total);
    return is_busier(overhead(*one), share(*one), overhead(*other), share(*other)) ? other : one;
  }

 private:
  /// Draws from 0 to `total` inclusive, as the kernel does, which favours the first destination
  /// a little.
  [[nodiscard]] Destination* draw(const SchedulingContext& context, std::uint64_t total) noexcept {
    std::uint64_t lot = random() % (total + 1);
    for (Destination* destination : context.destinations) {
      if (!destination->is_usable()) continue;
      if (lot <= share(*destination)) return destination;
      lot -= share(*destination);
    }
    return nullptr;  // not reached: the shares add up to `total`
  }

  /// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
  [[nodiscard]] std::uint64_t random() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  std::uint64_t state_;
};

}  // namespace

std::unique_ptr<Scheduler> make_two_choices(std::uint64_t seed) {
  return std::make_unique<TwoChoices>(seed);
}

}  // namespace lb::engine
