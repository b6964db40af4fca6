// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "engine/destination.hpp"

namespace lb::engine {

/// How busy a destination is, as lc, wlc, lblc, lblcr and twos count it: an inactive connection
/// costs 1/256 of an active one.
[[nodiscard]] constexpr std::uint64_t overhead(const Destination& destination) noexcept {
  return (std::uint64_t{destination.active_connections} << 8) + destination.inactive_connections;
}

/// How busy a destination would be with one connection more, as sed and nq count it.
[[nodiscard]] constexpr std::uint64_t load_with_one_more(const Destination& destination) noexcept {
  return std::uint64_t{destination.active_connections} + 1;
}

/// The weight of a usable destination.
[[nodiscard]] inline std::uint64_t share(const Destination& destination) noexcept {
  return static_cast<std::uint64_t>(destination.weight());
}

/// True if `load_a` per `weight_a` is more than `load_b` per `weight_b`. Loads are below 2^41 and
/// weights below 2^31: the products do not fit 64 bits.
[[nodiscard]] constexpr bool is_busier(std::uint64_t load_a, std::uint64_t weight_a,
                                       std::uint64_t load_b, std::uint64_t weight_b) noexcept {
  __extension__ using Wide = unsigned __int128;
  return Wide{load_a} * weight_b > Wide{load_b} * weight_a;
}

/// The usable destination with the least `load(destination)` per weight; of equals the first.
/// Null if none is usable.
template <class Load>
[[nodiscard]] Destination* least_loaded(std::span<Destination* const> destinations,
                                        Load load) noexcept {
  Destination* best = nullptr;
  std::uint64_t best_load = 0;
  for (Destination* destination : destinations) {
    if (!destination->is_usable()) continue;
    const std::uint64_t its_load = load(*destination);
    if (best == nullptr || is_busier(best_load, share(*best), its_load, share(*destination))) {
      best = destination;
      best_load = its_load;
    }
  }
  return best;
}

/// The usable destination with the highest weight among those that `may(destination)` be taken; of
/// equals the first. Null if there is none.
template <class May>
[[nodiscard]] Destination* heaviest(std::span<Destination* const> destinations, May may) noexcept {
  Destination* best = nullptr;
  for (Destination* destination : destinations) {
    if (!destination->is_usable() || !may(*destination)) continue;
    if (best == nullptr || destination->weight() > best->weight()) best = destination;
  }
  return best;
}

}  // namespace lb::engine
