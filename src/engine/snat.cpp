// SPDX-License-Identifier: Apache-2.0
// The director's SNAT rules: configuration and listings.
#include "engine/snat.hpp"

#include <cerrno>
#include <utility>

#include "engine/director_saving.hpp"
#include "engine/director_state.hpp"
#include "engine/snat_state.hpp"
#include "engine/snat_steering.hpp"

namespace lb::engine {
namespace {

using model::SnatRefusal;

std::uint64_t refused(const SnatEntry& entry, SnatRefusal why) noexcept {
  return entry.refused[static_cast<std::size_t>(why)];
}

model::SnatRuleInfo describe(DirectorState& state, const SnatEntry& entry) {
  auto& destination = *entry.destination;
  if (state.fast_path) state.fast_path->count(destination);
  model::SnatRuleInfo info{
      .rule = entry.rule,
      .active_connections = destination.active_connections,
      .inactive_connections = destination.inactive_connections,
      .clients = destination.snat_clients,
      .statistics = destination.statistics.shown(state.estimation_tick),
      .refused_pool = refused(entry, SnatRefusal::kPoolExhausted),
      .refused_limit = refused(entry, SnatRefusal::kClientLimit),
      .refused_table = refused(entry, SnatRefusal::kTableFull),
      .last_refusal = entry.last_refusal,
      .last_refused = std::nullopt,
      .last_refused_destination = entry.last_refused_destination,
  };
  if (entry.last_refusal != SnatRefusal::kNone) info.last_refused = entry.last_refused;
  return info;
}

void zero(DirectorState& state, SnatEntry& entry) {
  if (state.fast_path) state.fast_path->count(*entry.destination);
  entry.destination->statistics.zero(state.estimation_tick);
  entry.service->statistics.zero(state.estimation_tick);
  entry.refused = {};
  entry.last_refusal = SnatRefusal::kNone;
  save(state, *entry.destination);
}

// The service that keeps the rule's account. Its key is no address's: protocol 0.
model::ServiceKey key_of(const SnatEntry& entry) {
  return {.family = entry.rule.family,
          .fwmark = 0,
          .protocol = net::Protocol::kIp,
          .address = entry.rule.pool[0].first,
          .port = net::Port::from_host(static_cast<std::uint16_t>(entry.slot))};
}

void make_account(DirectorState& state, SnatEntry& entry, Destination& destination) {
  entry.service = std::make_unique<Service>();
  entry.service->spec.key = key_of(entry);
  entry.service->serial = destination.service_serial;
  entry.service->destinations.push_back(&destination);
  entry.destination = &destination;
  destination.service = entry.service.get();
  destination.snat_slot = entry.slot;
  state.connections.keep_snat_clients();
  if (!state.snat.numbers) {
    state.snat.numbers.emplace(std::size_t{state.connections.table().capacity()} + 1);
  }
}

void remove(DirectorState& state, SnatEntry& entry) {
  auto& destination = *entry.destination;
  const auto owner = state.snat.rules.extract(entry);
  if (state.fast_path) state.fast_path->count(destination);
  destination.statistics.catch_up(state.estimation_tick);
  state.destinations.discard(destination, state.now);
  if (state.fast_path) state.fast_path->destination_changed(destination, state.now);
  state.saved.forget_snat_rule(owner->slot);
  save(state, destination);
  // All of its connections go, whatever their protocol; inside hosts see a path that is gone.
  if (destination.references != 0) {
    state.removal.jobs.push_back(
        {.selection = {}, .destination = destination.id, .end = model::DrainEnd::kReset});
  }
}

}  // namespace

Result<void> add_snat_rule(Director& director, const model::SnatRule& rule) {
  auto& state = director.state();
  if (model::fault_of(rule) != model::SnatFault::kNone) return failure(EINVAL);
  auto& rules = state.snat.rules;
  if (rules.conflict(rule)) return failure(EEXIST);
  if (rules.size() >= kMaxSnatRules) return failure(ENOSPC);
  auto* entry = rules.insert(rule);
  if (entry == nullptr) return failure(ENOSPC);
  model::DestinationSpec spec;
  spec.address = rule.pool[0].first;
  spec.port = net::Port::from_host(static_cast<std::uint16_t>(entry->slot));
  spec.method = model::ForwardingMethod::kMasquerade;
  auto& destination = state.destinations.create(key_of(*entry), spec);
  destination.service_serial = state.next_serial++;
  destination.order = state.next_serial++;
  make_account(state, *entry, destination);
  save(state, destination);
  state.saved.save(*entry);
  update_snat_steering(state);
  return {};
}

Result<void> delete_snat_rule(Director& director, const model::Name& name) {
  auto* entry = director.state().snat.rules.find(name);
  if (entry == nullptr) return failure(ENOENT);
  remove(director.state(), *entry);
  update_snat_steering(director.state());
  return {};
}

void flush_snat_rules(Director& director) {
  auto& state = director.state();
  while (state.snat.rules.size() != 0) remove(state, *state.snat.rules.in_order().back());
  update_snat_steering(state);
}

Result<void> zero_snat_rule(Director& director, const model::Name& name) {
  auto* entry = director.state().snat.rules.find(name);
  if (entry == nullptr) return failure(ENOENT);
  zero(director.state(), *entry);
  return {};
}

void zero_snat_rules(DirectorState& state) {
  for (auto* entry : state.snat.rules.in_order()) zero(state, *entry);
}

std::optional<model::SnatConflict> snat_conflict(const Director& director,
                                                 const model::SnatRule& rule) {
  return director.state().snat.rules.conflict(rule);
}

std::size_t snat_rule_count(const Director& director) noexcept {
  return director.state().snat.rules.size();
}

std::optional<model::SnatRuleInfo> snat_rule(Director& director, const model::Name& name) {
  const auto* entry = director.state().snat.rules.find(name);
  if (entry == nullptr) return std::nullopt;
  return describe(director.state(), *entry);
}

std::vector<model::SnatRuleInfo> snat_rules(Director& director) {
  std::vector<model::SnatRuleInfo> result;
  const auto rules = director.state().snat.rules.in_order();
  result.reserve(rules.size());
  for (const auto* entry : rules) result.push_back(describe(director.state(), *entry));
  return result;
}

void set_host_ports(Director& director, const HostPorts& ports) noexcept {
  *director.state().snat.host_ports = ports;
}

void restore_snat_rules(DirectorState& state) {
  const auto& saved = state.saved.memory().snat_rules;
  for (std::uint32_t slot = 1; slot < saved.size() && slot <= kMaxSnatRules; ++slot) {
    const auto& left = saved[slot];
    const bool is_usable = left.committed != 0 &&
                           model::fault_of(left.rule) == model::SnatFault::kNone &&
                           state.destinations.contains(left.destination) &&
                           state.destinations.at(left.destination).service == nullptr &&
                           !state.snat.rules.conflict(left.rule);
    auto* entry = is_usable ? state.snat.rules.insert(left.rule, slot) : nullptr;
    if (entry == nullptr) {
      state.saved.forget_snat_rule(slot);
      continue;
    }
    auto& destination = state.destinations.at(left.destination);
    make_account(state, *entry, destination);
    entry->service->statistics.restore(destination.statistics.since_zero(), state.estimation_tick);
  }
}

}  // namespace lb::engine
