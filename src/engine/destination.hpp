// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/endpoint_table.hpp"
#include "engine/network_view.hpp"
#include "engine/rate_estimator.hpp"
#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/service_options.hpp"
#include "net/time.hpp"

namespace lb::engine {

struct Service;

/// The way to a destination, remembered until the network view changes.
struct CachedRoute {
  std::uint64_t generation = 0;  ///< of the network view; 0: never looked up
  bool is_local = false;         ///< the destination is an address of the director
  bool has_route = false;
  NextHop hop{};
  net::IpAddress source{};  ///< of tunnel headers
};

/// A real server in a service, with what the director counts of it. Lives in the director's
/// destination table under a stable `id`; schedulers and connections refer to it by pointer or id.
struct Destination {
  std::uint32_t id = 0;
  model::ServiceKey service_key;     ///< of the service it belongs, or belonged, to
  Service* service = nullptr;        ///< that service while `is_available`
  std::uint64_t order = 0;           ///< rises with every destination put into a service
  std::uint64_t service_serial = 0;  ///< tells a service from a later one with the same key
  model::DestinationSpec spec;
  std::int32_t last_weight = 0;  ///< the last weight that was not 0 (the mh table is made of it)
  std::uint32_t active_connections = 0;
  std::uint32_t inactive_connections = 0;
  std::uint32_t persistent_connections = 0;
  std::uint32_t references = 0;  ///< connections and templates bound to it
  bool is_overloaded = false;    ///< reached its upper threshold, not yet below the lower
  bool is_available = true;      ///< false: removed from its service, kept for its connections
  // Beyond IPVS, see removal.hpp.
  bool drains = false;  ///< gets no new connections; those that are there go on for a time
  model::DrainEnd drain_end = model::DrainEnd::kKeep;
  Timestamp drain_until{};
  Timestamp idle_since{};  ///< when it was removed or lost its last connection
  RateEstimator statistics;
  std::uint32_t snat_slot = 0;     ///< of the SNAT rule whose account this is; 0: a real server
  std::uint32_t snat_clients = 0;  ///< inside addresses with connections by that rule
  EndpointId steered_end = 0;      ///< its place among the steered real ends, if it masquerades
  CachedRoute route;

  [[nodiscard]] std::int32_t weight() const noexcept { return spec.weight; }
  /// May get new connections: has a weight and is not over its threshold.
  [[nodiscard]] bool is_usable() const noexcept { return spec.weight > 0 && !is_overloaded; }
};

}  // namespace lb::engine
