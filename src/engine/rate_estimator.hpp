// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "model/statistics.hpp"

namespace lb::engine {

/// Counters with the moving averages that IPVS shows (estimator of ip_vs_est.c, every 2 s):
/// a step reaches 44 % after two intervals and 90 % after eight.
///
/// Nothing is done at a tick. Whoever runs the estimators counts the ticks, and an estimator
/// catches up with them when it is counted with, for the first time since, or read: what was
/// counted before belongs to the first tick that it missed, and in the others the averages decay.
/// So estimators that see no packet cost nothing, and all show what they would if they were
/// updated at every tick.
class RateEstimator {
 public:
  /// The counters since creation, to add to after `tick` ticks.
  [[nodiscard]] model::Counters& counters(std::uint64_t tick) noexcept {
    if (tick != tick_) catch_up(tick);
    return counters_;
  }
  /// Brings the averages up to date.
  void catch_up(std::uint64_t tick) noexcept;
  /// Goes on at `tick` as if there had been no ticks since it last caught up.
  void resume(std::uint64_t tick) noexcept { tick_ = tick; }
  /// Makes the values shown start from zero; rates start anew.
  void zero(std::uint64_t tick) noexcept;
  /// Starts with counters that an earlier director had; rates start anew.
  void restore(const model::Counters& counters, std::uint64_t tick) noexcept {
    counters_ = counters;
    zero(tick);
    base_ = {};
  }
  /// Counters since the last `zero`.
  [[nodiscard]] model::Counters since_zero() const noexcept;
  /// Counters since the last `zero`, and rates.
  [[nodiscard]] model::Statistics shown(std::uint64_t tick) const noexcept;

 private:
  struct Average {
    std::uint64_t last = 0;
    std::uint64_t value = 0;  ///< fixed point: 2^10 (connections, packets) or 2^5 (bytes) per unit

    void update(std::uint64_t count, unsigned bits, std::uint64_t ticks) noexcept;
    [[nodiscard]] std::uint64_t shown(unsigned bits) const noexcept;
  };

  std::uint64_t tick_ = 0;  // that the averages are of
  model::Counters counters_;
  model::Counters base_;
  Average connections_, packets_in_, packets_out_, bytes_in_, bytes_out_;
};

}  // namespace lb::engine
