// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"

namespace lb::engine {
namespace {

/// fo: the usable destination with the highest weight; of equals the first.
class Failover final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override { return {}; }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    return heaviest(context.destinations, [](const Destination&) { return true; });
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_failover() { return std::make_unique<Failover>(); }

}  // namespace lb::engine
