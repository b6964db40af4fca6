// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"
#include "engine/scheduler/locality.hpp"

namespace lb::engine {
namespace {

/// lblc: for each virtual address the destination used last, while that is not overloaded and
/// has a weight; else as wlc. For services of many addresses: caches behind a firewall mark.
class Locality final : public LocalityScheduler {
 public:
  explicit Locality(std::uint64_t seed) : LocalityScheduler(seed, 1, &Settings::lblc_expiration) {}

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    LocationCache::Entry* entry = cache().find(input.virtual_address);
    if (entry != nullptr) {
      entry->last_used = context.now;
      Destination* known = nullptr;
      cache().for_each_member(*entry, [&known](Destination& member) { known = &member; });
      // A destination over its upper threshold stays, as in the kernel.
      if (known != nullptr && known->weight() > 0 && !should_leave(*known, context)) return known;
    }
    Destination* destination = least_loaded(context.destinations, overhead);
    if (destination == nullptr) return nullptr;
    if (entry == nullptr) entry = cache().create(input.virtual_address, context.now);
    if (entry != nullptr) {
      cache().clear_members(*entry);
      cache().add_member(*entry, *destination, context.now);
    }
    return destination;
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_locality(std::uint64_t seed) {
  return std::make_unique<Locality>(seed);
}

}  // namespace lb::engine
