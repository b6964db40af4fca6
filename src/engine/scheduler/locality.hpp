// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "engine/scheduler/load.hpp"
#include "engine/scheduler/scheduler.hpp"

namespace lb::engine {

/// True if lblc and lblcr should leave `destination` for another: it has more active connections
/// than its weight while some destination of the service has less than half of its own.
[[nodiscard]] inline bool should_leave(const Destination& destination,
                                       const SchedulingContext& context) noexcept {
  if (destination.active_connections <= share(destination)) return false;
  const auto list = context.destinations;
  return std::any_of(list.begin(), list.end(), [](const Destination* other) {
    return std::uint64_t{other->active_connections} * 2 < share(*other);
  });
}

}  // namespace lb::engine
