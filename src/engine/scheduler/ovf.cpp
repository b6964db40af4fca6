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
    return heaviest(context.destinations, [](const Destination& destination) {
      return destination.active_connections <= share(destination);
    });
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_overflow() { return std::make_unique<Overflow>(); }

}  // namespace lb::engine
