// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// ovf: the usable destination with the highest weight that has not more active connections
/// than its weight; of equals the first. Null if all have more.
class Overflow final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    Destination* best = nullptr;
    for (Destination* destination : context.destinations) {
      if (!destination->is_usable()) continue;
      if (destination->active_connections > share(*destination)) continue;
      if (best == nullptr || destination->weight() > best->weight()) best = destination;
    }
    return best;
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_overflow() { return std::make_unique<Overflow>(); }

}  // namespace lb::engine
