// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "model/statistics.hpp"

namespace lb::engine {

/// Counters with the moving averages that IPVS shows (estimator of ip_vs_est.c, every 2 s):
/// a step reaches 44 % after two intervals and 90 % after eight.
class RateEstimator {
 public:
  model::Counters counters;  ///< since creation; the packet path adds here

  /// Updates the averages; to be called every 2 seconds.
  void tick() noexcept;
  /// Makes the values shown start from zero; rates start anew.
  void zero() noexcept;
  /// Counters since the last `zero`, and rates.
  [[nodiscard]] model::Statistics shown() const noexcept;

 private:
  struct Average {
    std::uint64_t last = 0;
    std::uint64_t value = 0;  ///< fixed point: 2^10 (connections, packets) or 2^5 (bytes) per unit

    void add(std::uint64_t count, unsigned bits) noexcept;
    [[nodiscard]] std::uint64_t shown(unsigned bits) const noexcept;
  };
  model::Counters base_;
  Average connections_, packets_in_, packets_out_, bytes_in_, bytes_out_;
};

}  // namespace lb::engine
