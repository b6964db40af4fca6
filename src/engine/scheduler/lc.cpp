// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// lc: the usable destination with the least overhead, whatever its weight.
class LeastConnection final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    Destination* best = nullptr;
    std::uint64_t least = 0;
    for (Destination* destination : context.destinations) {
      if (!destination->is_usable()) continue;
      const std::uint64_t load = overhead(*destination);
      if (best == nullptr || load < least) {
        best = destination;
        least = load;
      }
    }
    return best;
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_least_connection() { return std::make_unique<LeastConnection>(); }

}  // namespace lb::engine
