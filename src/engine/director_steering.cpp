// SPDX-License-Identifier: Apache-2.0
#include "engine/director_steering.hpp"

namespace lb::engine {

void steer(DirectorState& state, Destination& destination) {
  const auto& key = destination.service_key;
  const bool wanted = destination.spec.method == model::ForwardingMethod::kMasquerade &&
                      key.fwmark == 0 && destination.spec.port != net::Port{};
  if (wanted && destination.steered_end == 0) {
    destination.steered_end = state.connections.real_ends().acquire_configured(
        key.protocol, destination.spec.address, destination.spec.port);
  }
}

void unsteer(DirectorState& state, Destination& destination) {
  state.connections.real_ends().release(destination.steered_end, true);
  destination.steered_end = 0;
}

}  // namespace lb::engine
