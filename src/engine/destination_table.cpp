// SPDX-License-Identifier: Apache-2.0
#include "engine/destination_table.hpp"

#include <algorithm>
#include <utility>

#include "engine/service_key_hash.hpp"

namespace lb::engine {
namespace {

// IP_VS_DEST_TRASH_PERIOD of the kernel.
constexpr auto kTrashPeriod = std::chrono::seconds(120);

}  // namespace

Destination& DestinationTable::create(const model::ServiceKey& service,
                                      const model::DestinationSpec& spec) {
  auto destination = std::make_unique<Destination>();
  destination->service_key = service;
  destination->spec = spec;
  if (free_.empty()) {
    destination->id = static_cast<std::uint32_t>(destinations_.size());
    destinations_.push_back(std::move(destination));
    return *destinations_.back();
  }
  const auto id = free_.back();
  free_.pop_back();
  destination->id = id;
  destinations_[id] = std::move(destination);
  return *destinations_[id];
}

bool DestinationTable::has_tunnel(const net::IpAddress& end, model::TunnelType type,
                                  net::Port port) const noexcept {
  return std::any_of(destinations_.begin(), destinations_.end(), [&](const auto& destination) {
    if (destination == nullptr || !destination->is_available) return false;
    const auto& spec = destination->spec;
    return spec.method == model::ForwardingMethod::kTunnel && spec.tunnel.type == type &&
           (type != model::TunnelType::kGue || spec.tunnel.port == port) && spec.address == end;
  });
}

Destination& DestinationTable::restore(std::uint32_t id, const model::ServiceKey& service,
                                       const model::DestinationSpec& spec) {
  if (id >= destinations_.size()) destinations_.resize(std::size_t{id} + 1);
  auto destination = std::make_unique<Destination>();
  destination->id = id;
  destination->service_key = service;
  destination->spec = spec;
  destinations_[id] = std::move(destination);
  return *destinations_[id];
}

void DestinationTable::end_restoring() {
  for (std::uint32_t id = 1; id < destinations_.size(); ++id) {
    if (destinations_[id] == nullptr) free_.push_back(id);
  }
}

void DestinationTable::discard(Destination& destination, Timestamp now) {
  destination.is_available = false;
  destination.service = nullptr;
  destination.idle_since = now;
  trash_.insert(&destination);
}

std::size_t DestinationTable::TrashHash::operator()(const Destination* destination) const noexcept {
  const auto hash =
      mix_hash(ServiceKeyHash()(destination->service_key), destination->spec.port.to_network());
  return mix_hash(hash, destination->spec.address);
}

bool DestinationTable::IsSame::operator()(const Destination* a,
                                          const Destination* b) const noexcept {
  ++*compared;
  return a->service_key == b->service_key && a->spec.port == b->spec.port &&
         a->spec.address == b->spec.address;
}

Destination* DestinationTable::revive(const model::ServiceKey& service, const net::Endpoint& end) {
  Destination wanted;
  wanted.service_key = service;
  wanted.spec.address = end.address;
  wanted.spec.port = end.port;
  const auto found = trash_.find(&wanted);
  if (found == trash_.end()) return nullptr;
  auto* destination = *found;
  trash_.erase(found);
  destination->is_available = true;
  return destination;
}

std::vector<std::uint32_t> DestinationTable::sweep(Timestamp now) {
  std::vector<std::uint32_t> gone;
  for (auto at = trash_.begin(); at != trash_.end();) {
    auto* destination = *at;
    if (destination->references != 0 || destination->drains) destination->idle_since = now;
    if (now - destination->idle_since < kTrashPeriod) {
      ++at;
      continue;
    }
    at = trash_.erase(at);
    const auto id = destination->id;
    destinations_[id].reset();
    free_.push_back(id);
    gone.push_back(id);
  }
  return gone;
}

}  // namespace lb::engine
