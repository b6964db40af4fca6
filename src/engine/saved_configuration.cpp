// SPDX-License-Identifier: Apache-2.0
#include "engine/saved_configuration.hpp"

#include <algorithm>
#include <atomic>

namespace lb::engine {
namespace {

/// Overwrites an entry so that whoever finds it committed finds it whole.
template <class Entry>
void overwrite(Entry& place, const Entry& fresh) noexcept {
  place.committed = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  place = fresh;
  place.committed = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  place.committed = 1;
}

}  // namespace

SavedConfiguration::SavedConfiguration(const DirectorMemory& memory) : memory_(memory) {}

void SavedConfiguration::begin() noexcept {
  auto* globals = memory_.globals;
  if (globals == nullptr) return;
  globals->connections = static_cast<std::uint32_t>(memory_.records.size() - 1);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  globals->layout = DirectorMemory::kLayout;
}

void SavedConfiguration::save(Service& service) noexcept {
  if (service.saved_slot == 0) {
    if (!free_.empty()) {
      service.saved_slot = free_.back();
      free_.pop_back();
    } else if (next_fresh_ < memory_.services.size()) {
      service.saved_slot = next_fresh_++;
    } else {
      return;
    }
  }
  overwrite(memory_.services[service.saved_slot], {.serial = service.serial,
                                                   .spec = service.spec,
                                                   .options = service.options,
                                                   .counters = service.statistics.since_zero()});
}

void SavedConfiguration::forget(const Service& service) noexcept {
  if (service.saved_slot == 0) return;
  memory_.services[service.saved_slot].committed = 0;
  free_.push_back(service.saved_slot);
}

void SavedConfiguration::adopt(Service& service, std::uint32_t slot) noexcept {
  service.saved_slot = slot;
  for (; next_fresh_ < slot; ++next_fresh_) free_.push_back(next_fresh_);
  next_fresh_ = std::max(next_fresh_, slot + 1);
}

void SavedConfiguration::save(const Destination& destination, const flow_counters& fast) noexcept {
  if (destination.id >= memory_.destinations.size()) return;
  overwrite(memory_.destinations[destination.id],
            {.order = destination.order,
             .service_serial = destination.service_serial,
             .service = destination.service_key,
             .spec = destination.spec,
             .last_weight = destination.last_weight,
             .counters = destination.statistics.since_zero(),
             .fast = fast,
             .is_available = destination.is_available ? 1U : 0U});
}

void SavedConfiguration::forget_destination(std::uint32_t id) noexcept {
  if (id < memory_.destinations.size()) memory_.destinations[id].committed = 0;
}

void SavedConfiguration::save(const Settings& settings, const model::Timeouts& timeouts) noexcept {
  if (memory_.globals == nullptr) return;
  memory_.globals->has_settings = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  memory_.globals->settings = settings;
  memory_.globals->timeouts = timeouts;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  memory_.globals->has_settings = 1;
}

void SavedConfiguration::save(const MarkRules& rules, std::size_t from) noexcept {
  auto* globals = memory_.globals;
  if (globals == nullptr) return;
  const auto count = std::min(rules.size(), memory_.mark_rules.size());
  for (std::size_t position = from; position <= count; ++position) {
    memory_.mark_rules[position - 1] = rules.at(static_cast<std::uint32_t>(position)).rule;
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  globals->mark_rules = static_cast<std::uint32_t>(count);
}

void SavedConfiguration::save(const model::Counters& totals) noexcept {
  if (memory_.globals != nullptr) memory_.globals->totals = totals;
}

}  // namespace lb::engine
