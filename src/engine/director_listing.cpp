// SPDX-License-Identifier: Apache-2.0
// What the director tells of itself.
#include <algorithm>
#include <span>
#include <utility>

#include "engine/destination_listing.hpp"
#include "engine/director.hpp"
#include "engine/director_state.hpp"
#include "engine/sip.hpp"

namespace lb::engine {
namespace {

// A template that was made unfindable is listed with these ports, as in the kernel.
constexpr std::uint16_t kDetachedPort = 0xffff;

model::ServiceInfo describe(const Service& service, std::uint64_t tick) {
  return {.spec = service.spec, .statistics = service.statistics.shown(tick)};
}

model::DestinationInfo describe(const Destination& destination, std::uint64_t tick) {
  return {.spec = destination.spec,
          .active_connections = destination.active_connections,
          .inactive_connections = destination.inactive_connections,
          .persistent_connections = destination.persistent_connections,
          .statistics = destination.statistics.shown(tick)};
}

model::ConnectionInfo describe(const Connections& connections, ConnectionId id, Timestamp now) {
  using std::chrono::milliseconds;
  const auto& record = connections.at(id);
  const auto now_ms = std::chrono::duration_cast<milliseconds>(now.since_start).count();
  const auto left_ms = std::max<std::int64_t>(record.expires_ms - now_ms, 0);
  model::ConnectionInfo info{
      .protocol = record.protocol,
      .client = connections.client_end(record),
      .virtual_end = connections.virtual_end(record),
      .destination = connections.real_end(record),
      .state = connections.state_name(record),
      .expires_in = static_cast<std::uint32_t>(left_ms / 1000),
      .persistence_data = std::string(connections.key_data(id)),
      .is_synced = (record.flags & kConnectionSynced) != 0,
  };
  if (!info.persistence_data.empty()) info.persistence_engine = kSipEngine;
  if ((record.flags & kConnectionSnat) != 0) std::swap(info.client, info.destination);
  if ((record.flags & kConnectionDetached) != 0) {
    info.client.port = net::Port{};
    info.virtual_end.port = net::Port::from_host(kDetachedPort);
    info.destination.port = net::Port::from_host(kDetachedPort);
  }
  return info;
}

// Of a connection of SNAT, the name of its rule; of a rule that is gone, "-".
model::Name snat_rule_of(DirectorState& state, ConnectionId id) {
  const auto& record = state.connections.at(id);
  if ((record.flags & kConnectionSnat) == 0) return {};
  const auto* destination = state.connections.destination(record);
  if (destination == nullptr || !destination->is_available) return "-";
  return state.snat.rules.at(destination->snat_slot)->rule.name;
}

// Adds what XDP has counted.
void count_fast(DirectorState& state, const Service& service) {
  if (!state.fast_path) return;
  for (auto* destination : service.destinations) state.fast_path->count(*destination);
}

}  // namespace

bool Director::has_service(const model::ServiceKey& key) const noexcept {
  return state_->services.find(key) != nullptr;
}

std::optional<model::ServiceInfo> Director::service(const model::ServiceKey& key) const {
  const auto* service = state_->services.find(key);
  if (service == nullptr) return std::nullopt;
  count_fast(*state_, *service);
  return describe(*service, state_->estimation_tick);
}

std::vector<model::ServiceInfo> Director::services() const {
  std::vector<model::ServiceInfo> result;
  result.reserve(state_->services.size());
  for (const auto* service : state_->services.in_order()) {
    count_fast(*state_, *service);
    result.push_back(describe(*service, state_->estimation_tick));
  }
  return result;
}

std::vector<model::ServiceKey> Director::service_keys() const {
  std::vector<model::ServiceKey> result;
  result.reserve(state_->services.size());
  for (const auto* service : state_->services.in_order()) result.push_back(service->key());
  return result;
}

std::vector<model::DestinationInfo> Director::destinations(const model::ServiceKey& key) const {
  std::vector<model::DestinationInfo> result;
  const auto* service = state_->services.find(key);
  if (service == nullptr) return result;
  result.reserve(service->destinations.size());
  count_fast(*state_, *service);
  for (const auto* destination : service->destinations) {
    result.push_back(describe(*destination, state_->estimation_tick));
  }
  return result;
}

std::vector<model::DestinationInfo> list_destinations(Director& director,
                                                      const model::ServiceKey& key,
                                                      std::size_t first, std::size_t most) {
  std::vector<model::DestinationInfo> result;
  auto& state = director.state();
  const auto* service = state.services.find(key);
  if (service == nullptr) return result;
  std::span<Destination* const> rest = service->destinations;
  rest = rest.subspan(std::min(first, rest.size()));
  rest = rest.first(std::min(most, rest.size()));
  result.reserve(rest.size());
  for (auto* destination : rest) {
    if (state.fast_path) state.fast_path->count(*destination);
    result.push_back(describe(*destination, state.estimation_tick));
  }
  return result;
}

std::uint32_t Director::shown_table_size() const noexcept {
  return state_->options.shown_table_size;
}

std::size_t Director::service_count() const noexcept { return state_->services.size(); }

std::optional<std::uint32_t> Director::list_connections(
    std::uint32_t cursor, std::uint32_t slots, std::vector<model::ConnectionInfo>& out) const {
  const auto& table = state_->connections.table();
  const auto first = std::max(cursor, 1U);
  const auto end = first + std::min(slots, table.end() - std::min(first, table.end()));
  for (auto id = first; id < end; ++id) {
    if (!table.contains(id)) continue;
    state_->connections.refresh_expiry(id, state_->now);
    out.push_back(describe(state_->connections, id, state_->now));
    out.back().snat_rule = snat_rule_of(*state_, id);
  }
  if (end >= table.end()) return std::nullopt;
  return end;
}

std::size_t Director::connection_count() const noexcept {
  return state_->connections.table().size();
}

std::size_t Director::connection_capacity() const noexcept {
  return state_->connections.table().capacity();
}

model::Statistics Director::totals() const noexcept {
  if (state_->fast_path) state_->fast_path->count_all();
  return state_->totals.shown(state_->estimation_tick);
}

const DirectorCounters& Director::counters() const noexcept {
  state_->counters.connections_expired = state_->connections.expired();
  return state_->counters;
}

}  // namespace lb::engine
