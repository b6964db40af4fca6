// SPDX-License-Identifier: Apache-2.0
#include "engine/saved_configuration.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace lb::engine {
namespace {

// One thread writes, and who reads comes after it: only the compiler must be held back.
void in_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

/// Writes an entry over, aside first. Whoever comes in the middle finds the old or the new one.
template <class Entry>
void overwrite(SavedGlobals& globals, SavedAside::Kind kind, std::uint32_t index, Entry& place,
               Entry fresh) noexcept {
  fresh.committed = 1;
  std::memcpy(globals.aside.entry.data(), &fresh, sizeof(fresh));
  globals.aside.index = index;
  in_order();
  globals.aside.kind = kind;
  in_order();
  place = fresh;
  in_order();
  globals.aside.kind = SavedAside::Kind::kNone;
  in_order();
}

template <class Entry>
void take_from(const SavedAside& aside, Entry& place) noexcept {
  std::memcpy(&place, aside.entry.data(), sizeof(place));
}

}  // namespace

SavedConfiguration::SavedConfiguration(const DirectorMemory& memory) : memory_(memory) {}

void SavedConfiguration::begin() noexcept {
  auto* globals = memory_.globals;
  if (globals == nullptr) return;
  globals->connections = static_cast<std::uint32_t>(memory_.records.size() - 1);
  in_order();
  globals->layout = DirectorMemory::kLayout;
}

void SavedConfiguration::end_interrupted() noexcept {
  auto& aside = memory_.globals->aside;
  if (aside.kind == SavedAside::Kind::kService && aside.index < memory_.services.size()) {
    take_from(aside, memory_.services[aside.index]);
  } else if (aside.kind == SavedAside::Kind::kDestination &&
             aside.index < memory_.destinations.size()) {
    take_from(aside, memory_.destinations[aside.index]);
  } else if (aside.kind == SavedAside::Kind::kSettings) {
    take_from(aside, memory_.globals->settings);
  }
  in_order();
  aside.kind = SavedAside::Kind::kNone;
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
  overwrite<SavedService>(*memory_.globals, SavedAside::Kind::kService, service.saved_slot,
                          memory_.services[service.saved_slot],
                          {.serial = service.serial,
                           .spec = service.spec,
                           .options = service.options,
                           .counters = service.statistics.since_zero()});
}

void SavedConfiguration::forget(const Service& service) noexcept {
  if (service.saved_slot == 0) return;
  memory_.services[service.saved_slot].committed = 0;
  in_order();
  free_.push_back(service.saved_slot);
}

void SavedConfiguration::adopt(Service& service, std::uint32_t slot) noexcept {
  service.saved_slot = slot;
  for (; next_fresh_ < slot; ++next_fresh_) free_.push_back(next_fresh_);
  next_fresh_ = std::max(next_fresh_, slot + 1);
}

void SavedConfiguration::save(const Destination& destination, const flow_counters& fast) noexcept {
  if (destination.id >= memory_.destinations.size()) return;
  overwrite<SavedDestination>(*memory_.globals, SavedAside::Kind::kDestination, destination.id,
                              memory_.destinations[destination.id],
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
  overwrite<SavedSettings>(*memory_.globals, SavedAside::Kind::kSettings, 0,
                           memory_.globals->settings, {.settings = settings, .timeouts = timeouts});
}

void SavedConfiguration::save(const MarkRules& rules, std::size_t from) noexcept {
  auto* globals = memory_.globals;
  if (globals == nullptr) return;
  const auto before = globals->mark_rules;
  const auto room = memory_.mark_rules.size() / 2;
  const auto count = static_cast<std::uint32_t>(std::min(rules.size(), room));
  // Behind those that count there is room; what is before them changes in the other table.
  const bool is_append = from > before.count() && count > before.count();
  const auto table = is_append ? before.table() : 1 - before.table();
  for (auto position = is_append ? from : 1; position <= count; ++position) {
    memory_.mark_rules[table * room + position - 1] =
        rules.at(static_cast<std::uint32_t>(position)).rule;
  }
  in_order();
  globals->mark_rules = {table << 31U | count};
}

void SavedConfiguration::save(const SnatEntry& entry) noexcept {
  if (entry.slot >= memory_.snat_rules.size()) return;
  auto& place = memory_.snat_rules[entry.slot];
  place = {.rule = entry.rule, .destination = entry.destination->id};
  in_order();
  place.committed = 1;
}

void SavedConfiguration::forget_snat_rule(std::uint32_t slot) noexcept {
  if (slot >= memory_.snat_rules.size()) return;
  memory_.snat_rules[slot].committed = 0;
  in_order();
}

void SavedConfiguration::save(const model::Counters& totals) noexcept {
  if (memory_.globals != nullptr) memory_.globals->totals = totals;
}

}  // namespace lb::engine
