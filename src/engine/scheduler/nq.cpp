// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// nq: the first usable destination that is idle, whatever its weight; else as sed.
class NeverQueue final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    for (Destination* destination : context.destinations) {
      if (destination->is_usable() && destination->active_connections == 0) return destination;
    }
    return least_loaded(context.destinations, load_with_one_more);
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_never_queue() { return std::make_unique<NeverQueue>(); }

}  // namespace lb::engine
