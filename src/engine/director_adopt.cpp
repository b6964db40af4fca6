// SPDX-License-Identifier: Apache-2.0
// How a director takes over what the one before it left in memory.
#include <algorithm>
#include <vector>

#include "engine/director.hpp"
#include "engine/director_marks.hpp"
#include "engine/director_saving.hpp"
#include "engine/director_state.hpp"
#include "engine/director_steering.hpp"
#include "engine/removal.hpp"

namespace lb::engine {
namespace {

void restore_settings(DirectorState& state, const SavedGlobals& globals) {
  state.totals.restore(globals.totals, state.estimation_tick);
  if (globals.settings.committed == 0) return;
  state.settings = globals.settings.settings;
  state.defence.update(state.settings);
  auto& timeouts = state.connections.timeouts();
  timeouts.tcp[static_cast<std::size_t>(TcpState::kEstablished)] = globals.settings.timeouts.tcp;
  timeouts.tcp[static_cast<std::size_t>(TcpState::kFinWait)] = globals.settings.timeouts.tcp_fin;
  timeouts.udp = globals.settings.timeouts.udp;
}

// The committed entries, oldest first.
template <class Saved, class Age>
std::vector<std::uint32_t> committed(std::span<const Saved> all, Age age) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t slot = 1; slot < all.size(); ++slot) {
    if (all[slot].committed != 0) found.push_back(slot);
  }
  std::sort(found.begin(), found.end(), [&](auto a, auto b) { return age(all[a]) < age(all[b]); });
  return found;
}

std::size_t restore_services(DirectorState& state) {
  const std::span<const SavedService> saved = state.saved.memory().services;
  std::size_t count = 0;
  for (const auto slot : committed(saved, [](const SavedService& s) { return s.serial; })) {
    const auto& entry = saved[slot];
    if (state.services.find(entry.spec.key) != nullptr) continue;
    auto service = std::make_unique<Service>();
    service->spec = entry.spec;
    service->serial = entry.serial;
    service->statistics.restore(entry.counters, state.estimation_tick);
    const auto name = entry.spec.scheduler.view();
    if (name != "none") {
      service->scheduler = make_scheduler(name, state.options.hash_key[0] + entry.serial);
    }
    if (service->scheduler != nullptr &&
        !service->scheduler->bind(service->context(state.settings, state.now))) {
      service->scheduler.reset();
    }
    state.saved.adopt(*service, slot);
    state.next_serial = std::max(state.next_serial, entry.serial + 1);
    state.services.insert(std::move(service));
    ++count;
  }
  return count;
}

void restore_destinations(DirectorState& state) {
  for (std::uint32_t id = 1; id < state.saved.memory().destinations.size(); ++id) {
    const auto& entry = state.saved.memory().destinations[id];
    if (entry.committed == 0) continue;
    auto& destination = state.destinations.restore(id, entry.service, entry.spec);
    destination.order = entry.order;
    destination.service_serial = entry.service_serial;
    destination.last_weight = entry.last_weight;
    destination.statistics.restore(entry.counters, state.estimation_tick);
    state.next_serial = std::max(state.next_serial, entry.order + 1);
  }
  state.destinations.end_restoring();
}

// Puts destinations into their services: only now, for schedulers look at their connections.
std::size_t enlist_destinations(DirectorState& state) {
  const std::span<const SavedDestination> saved = state.saved.memory().destinations;
  std::size_t count = 0;
  for (const auto id : committed(saved, [](const SavedDestination& s) { return s.order; })) {
    auto& destination = state.destinations.at(id);
    if (destination.snat_slot != 0) continue;  // the account of a SNAT rule
    auto* service = state.services.find(destination.service_key);
    const bool is_there =
        saved[id].is_available != 0 && service != nullptr &&
        service->serial == destination.service_serial &&
        service->find({destination.spec.address, destination.spec.port}) == nullptr;
    if (!is_there) {
      state.destinations.discard(destination, state.now);
      continue;
    }
    destination.service = service;
    steer(state, destination);
    service->destinations.insert(service->destinations.begin(), &destination);
    if (service->scheduler != nullptr) {
      service->scheduler->destination_added(service->context(state.settings, state.now),
                                            destination);
    }
    ++count;
  }
  return count;
}

void restore_options(Director& director, std::span<const SavedService> saved) {
  for (const auto& entry : saved) {
    if (entry.committed == 0 || entry.options.is_default()) continue;
    // Options that cannot be are left out.
    (void)set_service_options(director, entry.spec.key, entry.options);
  }
}

void restore_mark_rules(DirectorState& state) {
  const auto& memory = state.saved.memory();
  const auto room = memory.mark_rules.size() / 2;
  const auto saved = memory.globals->mark_rules;
  const auto table = memory.mark_rules.subspan(saved.table() * room, room);
  const auto rules = table.first(std::min<std::size_t>(saved.count(), room));
  // One that cannot be is left out.
  for (const auto& rule : rules) (void)state.mark_rules.insert(rule, 0);
  if (state.mark_rules.size() != rules.size()) state.saved.save(state.mark_rules, 1);
}

void acquire_virtual_ends(DirectorState& state) {
  for (const auto& service : state.services.all()) {
    const auto& key = service->key();
    if (key.fwmark != 0) continue;
    service->virtual_end =
        state.connections.virtual_ends().acquire_configured(key.protocol, key.address, key.port);
  }
}

}  // namespace

void save(DirectorState& state, const Destination& destination) noexcept {
  flow_counters fast{};
  if (state.fast_path) fast = state.fast_path->counted(destination.id);
  state.saved.save(destination, fast);
}

void save_counters(DirectorState& state) noexcept {
  constexpr std::uint32_t kDestinationsAtOnce = 256;
  if (state.saved.memory().globals == nullptr) return;
  state.saved.save(state.totals.since_zero());
  const auto end = state.destinations.end();
  for (std::uint32_t i = 0; i < std::min(kDestinationsAtOnce, end); ++i) {
    state.saving_cursor = state.saving_cursor + 1 < end ? state.saving_cursor + 1 : 0;
    if (!state.destinations.contains(state.saving_cursor)) continue;
    auto& destination = state.destinations.at(state.saving_cursor);
    save(state, destination);
    const bool has_service = destination.service != nullptr && destination.snat_slot == 0;
    if (has_service) state.saved.save(*destination.service);
  }
}

bool Director::can_adopt() const noexcept { return state_->saved.memory().is_adoptable(); }

Adoption Director::adopt(Timestamp now) {
  auto& state = *state_;
  state.now = now;
  Adoption result;
  state.saved.end_interrupted();
  const auto& memory = state.saved.memory();
  restore_settings(state, *memory.globals);
  result.services = restore_services(state);
  restore_options(*this, memory.services);
  restore_destinations(state);
  restore_snat_rules(state);
  auto& connections = state.connections;
  connections.virtual_ends().begin_adoption();
  connections.real_ends().begin_adoption();
  result.lost = connections.adopt(now);
  connections.virtual_ends().end_adoption();
  connections.real_ends().end_adoption();
  acquire_virtual_ends(state);
  result.destinations = enlist_destinations(state);
  result.connections = connections.table().size();
  restore_mark_rules(state);
  update_mark_steering(state);
  state.is_adopted = true;
  return result;
}

void Director::begin_saving() noexcept {
  state_->saved.begin();
  state_->saved.save(state_->settings, timeouts());
}

}  // namespace lb::engine
