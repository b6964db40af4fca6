// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "net/time.hpp"

namespace lb::engine {

/// Gives out runs of slots of a few sizes. A run that was given back rests before it is used again:
/// XDP may be reading it.
class SlotPool {
 public:
  /// Primes, so that every step width visits all places of a table.
  static constexpr std::array<std::uint32_t, 5> kSizes{1, 61, 251, 1021, 4093};
  struct Run {
    std::uint32_t first = 0;
    std::uint32_t size = 0;  ///< of kSizes; 0: none
  };

  explicit SlotPool(std::uint32_t slots) : slots_(slots) {}

  /// A run of just this size, of kSizes; size 0 in the result: there is none left.
  [[nodiscard]] Run take(std::uint32_t size, Timestamp now);
  void give(const Run& run, Timestamp now);
  /// These are in use, and nothing else. Runs that lie about themselves are not in the result.
  std::vector<Run> adopt(std::span<const Run> used);
  [[nodiscard]] std::uint32_t used() const noexcept { return used_; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }

 private:
  struct Resting {
    Run run;
    Timestamp since;
  };
  [[nodiscard]] static std::size_t class_of(std::uint32_t size) noexcept;

  std::uint32_t slots_;
  std::uint32_t fresh_ = 0;  // never given out from here on
  std::uint32_t used_ = 0;
  std::array<std::vector<std::uint32_t>, kSizes.size()> free_;
  std::deque<Resting> resting_;
};

}  // namespace lb::engine
