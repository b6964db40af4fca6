// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"
#include "engine/scheduler/locality.hpp"
#include "engine/scheduler/location_cache.hpp"

namespace lb::engine {
namespace {

/// lblcr: for each virtual address a set of destinations, out of which the least loaded is used.
/// When that has too much to do, the least loaded of all joins the set; a set left unchanged for
/// long loses its most loaded member.
class LocalityWithReplication final : public Scheduler {
 public:
  explicit LocalityWithReplication(std::uint64_t seed) : cache_(seed, kMembersPerEntry) {}

  Result<void> bind(const SchedulingContext& context) override {
    cache_.reset(context.destinations);
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    LocationCache::Entry* entry = cache_.find(input.virtual_address);
    if (entry != nullptr) {
      entry->last_used = context.now;
      Destination* known = least_loaded_member(*entry);
      shrink(*entry, context);
      if (known != nullptr && !should_leave(*known, context)) return known;
    }
    Destination* destination = least_loaded(context.destinations, overhead);
    if (destination == nullptr) return nullptr;
    if (entry == nullptr) entry = cache_.create(input.virtual_address, context.now);
    if (entry != nullptr) cache_.add_member(*entry, *destination, context.now);
    return destination;
  }

  void destination_added(const SchedulingContext&, Destination& destination) override {
    cache_.destination_added(destination);
  }
  void destination_removed(const SchedulingContext&, Destination& destination) override {
    cache_.destination_removed(destination);
  }
  void sweep(const SchedulingContext& context) noexcept override {
    cache_.sweep(context.now, lifetime(context));
  }

 private:
  /// On average; a set may have as many as there are destinations.
  static constexpr std::size_t kMembersPerEntry = 4;

  [[nodiscard]] static Duration lifetime(const SchedulingContext& context) noexcept {
    return std::chrono::seconds(context.settings->lblcr_expiration);
  }

  [[nodiscard]] Destination* least_loaded_member(const LocationCache::Entry& entry) const noexcept {
    Destination* best = nullptr;
    cache_.for_each_member(entry, [&best](Destination& member) {
      if (!member.is_usable()) return;
      if (best == nullptr ||
          is_busier(overhead(*best), share(*best), overhead(member), share(member))) {
        best = &member;
      }
    });
    return best;
  }

  /// Takes the most loaded member away from a set that has not changed for long.
  void shrink(LocationCache::Entry& entry, const SchedulingContext& context) noexcept {
    if (entry.member_count < 2 || context.now - entry.last_changed <= lifetime(context)) return;
    const Destination* most = nullptr;
    cache_.for_each_member(entry, [&most](const Destination& member) {
      if (member.weight() <= 0) return;
      if (most == nullptr ||
          is_busier(overhead(member), share(member), overhead(*most), share(*most))) {
        most = &member;
      }
    });
    if (most != nullptr) cache_.remove_member(entry, *most, context.now);
  }

  LocationCache cache_;
};

}  // namespace

std::unique_ptr<Scheduler> make_locality_with_replication(std::uint64_t seed) {
  return std::make_unique<LocalityWithReplication>(seed);
}

}  // namespace lb::engine
