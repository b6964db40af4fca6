// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// sed: the usable destination with the least (active + 1) / weight, which is how long a new
/// connection may expect to wait there.
class ShortestExpectedDelay final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    return least_loaded(context.destinations, load_with_one_more);
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_shortest_expected_delay() {
  return std::make_unique<ShortestExpectedDelay>();
}

}  // namespace lb::engine
