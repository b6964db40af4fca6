// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"

namespace lb::engine {
namespace {

/// fo: the usable destination with the highest weight; of equals the first.
class Failover final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    Destination* best = nullptr;
    for (Destination* destination : context.destinations) {
      if (!destination->is_usable()) continue;
      if (best == nullptr || destination->weight() > best->weight()) best = destination;
    }
    return best;
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_failover() { return std::make_unique<Failover>(); }

}  // namespace lb::engine
