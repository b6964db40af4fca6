// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "engine/scheduler/load.hpp"
#include "engine/scheduler/location_cache.hpp"
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

/// What lblc and lblcr have in common: which destinations served which virtual address last.
class LocalityScheduler : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext& context) override {
    cache_.reset(context.destinations);
    return {};
  }
  void destination_added(const SchedulingContext&, Destination& destination) override {
    cache_.destination_added(destination);
  }
  void destination_removed(const SchedulingContext&, Destination& destination) override {
    cache_.destination_removed(destination);
  }
  void sweep(const SchedulingContext& context) noexcept override {
    cache_.sweep(context.now, lifetime(context));
  }

 protected:
  using Expiration = std::int32_t Settings::*;

  /// `members`: destinations that an address has on average.
  LocalityScheduler(std::uint64_t seed, std::size_t members, Expiration expiration)
      : cache_(seed, members), expiration_(expiration) {}

  [[nodiscard]] LocationCache& cache() noexcept { return cache_; }
  [[nodiscard]] const LocationCache& cache() const noexcept { return cache_; }
  [[nodiscard]] Duration lifetime(const SchedulingContext& context) const noexcept {
    return std::chrono::seconds(context.settings->*expiration_);
  }

 private:
  LocationCache cache_;
  Expiration expiration_;
};

}  // namespace lb::engine
