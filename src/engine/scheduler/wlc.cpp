// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// wlc: the usable destination with the least overhead for its weight.
class WeightedLeastConnection final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    return least_loaded(context.destinations, overhead);
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_weighted_least_connection() {
  return std::make_unique<WeightedLeastConnection>();
}

}  // namespace lb::engine
