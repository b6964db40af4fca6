// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"
#include "engine/scheduler/locality.hpp"
#include "engine/scheduler/location_cache.hpp"

namespace lb::engine {
namespace {

/// lblc: for each virtual address the destination used last, while that is not overloaded and
/// has a weight; else as wlc. For services of many addresses: caches behind a firewall mark.
class Locality final : public Scheduler {
 public:
  explicit Locality(std::uint64_t seed) : cache_(seed, 1) {}

  Result<void> bind(const SchedulingContext& context) override {
    cache_.reset(context.destinations);
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    LocationCache::Entry* entry = cache_.find(input.virtual_address);
    if (entry != nullptr) {
      entry->last_used = context.now;
      Destination* known = nullptr;
      cache_.for_each_member(*entry, [&known](Destination& member) { known = &member; });
      // A destination over its upper threshold stays, as in the kernel.
      if (known != nullptr && known->weight() > 0 && !should_leave(*known, context)) return known;
    }
    Destination* destination = least_loaded(context.destinations, overhead);
    if (destination == nullptr) return nullptr;
    if (entry == nullptr) entry = cache_.create(input.virtual_address, context.now);
    if (entry != nullptr) {
      cache_.clear_members(*entry);
      cache_.add_member(*entry, *destination, context.now);
    }
    return destination;
  }

  void destination_added(const SchedulingContext&, Destination& destination) override {
    cache_.destination_added(destination);
  }
  void destination_removed(const SchedulingContext&, Destination& destination) override {
    cache_.destination_removed(destination);
  }
  void sweep(const SchedulingContext& context) noexcept override {
    cache_.sweep(context.now, std::chrono::seconds(context.settings->lblc_expiration));
  }

 private:
  LocationCache cache_;
};

}  // namespace

std::unique_ptr<Scheduler> make_locality(std::uint64_t seed) {
  return std::make_unique<Locality>(seed);
}

}  // namespace lb::engine
