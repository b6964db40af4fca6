// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/load.hpp"
#include "engine/scheduler/locality.hpp"

namespace lb::engine {
namespace {

/// lblcr: for each virtual address a set of destinations, out of which the least loaded is used.
/// When that has too much to do, the least loaded of all joins the set; a set left unchanged for
/// long loses its most loaded member.
class LocalityWithReplication final : public LocalityScheduler {
 public:
  explicit LocalityWithReplication(std::uint64_t seed)
      : LocalityScheduler(seed, kMembersPerEntry, &Settings::lblcr_expiration) {}

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    LocationCache::Entry* entry = cache().find(input.virtual_address);
    if (entry != nullptr) {
      entry->last_used = context.now;
      Destination* known = least_loaded_member(*entry);
      shrink(*entry, context);
      if (known != nullptr && !should_leave(*known, context)) return known;
    }
    Destination* destination = least_loaded(context.destinations, overhead);
    if (destination == nullptr) return nullptr;
    if (entry == nullptr) entry = cache().create(input.virtual_address, context.now);
    if (entry != nullptr) cache().add_member(*entry, *destination, context.now);
    return destination;
  }

 private:
  /// On average; a set may have as many as there are destinations.
  static constexpr std::size_t kMembersPerEntry = 4;

  [[nodiscard]] Destination* least_loaded_member(const LocationCache::Entry& entry) const noexcept {
    Destination* best = nullptr;
    cache().for_each_member(entry, [&best](Destination& member) {
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
    cache().for_each_member(entry, [&most](const Destination& member) {
      if (member.weight() <= 0) return;
      if (most == nullptr ||
          is_busier(overhead(member), share(member), overhead(*most), share(*most))) {
        most = &member;
      }
    });
    if (most != nullptr) cache().remove_member(entry, *most, context.now);
  }
};

}  // namespace

std::unique_ptr<Scheduler> make_locality_with_replication(std::uint64_t seed) {
  return std::make_unique<LocalityWithReplication>(seed);
}

}  // namespace lb::engine
