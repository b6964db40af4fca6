// SPDX-License-Identifier: Apache-2.0
#include "engine/cached_route.hpp"

namespace lb::engine {

CachedRoute look_up_route(const NetworkView& network, const net::IpAddress& address) noexcept {
  CachedRoute route{.generation = network.generation()};
  route.is_local = network.is_local(address);
  if (const auto hop = network.route(address)) {
    route.has_route = true;
    route.hop = *hop;
  }
  if (const auto source = network.source_for(address)) route.source = *source;
  return route;
}

const CachedRoute& route_of(const NetworkView& network, Destination& destination) noexcept {
  if (destination.route.generation != network.generation()) {
    destination.route = look_up_route(network, destination.spec.address);
  }
  return destination.route;
}

}  // namespace lb::engine
