// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace lb {

using Duration = std::chrono::nanoseconds;

/// A point on the monotonic time line that whoever runs the engine hands to it. Nothing in
/// `net`, `model` and `engine` reads a clock.
struct Timestamp {
  Duration since_start{0};

  friend constexpr bool operator==(Timestamp, Timestamp) = default;
  friend constexpr auto operator<=>(Timestamp, Timestamp) = default;
  friend constexpr Timestamp operator+(Timestamp t, Duration d) { return {t.since_start + d}; }
  friend constexpr Timestamp operator-(Timestamp t, Duration d) { return {t.since_start - d}; }
  friend constexpr Duration operator-(Timestamp a, Timestamp b) {
    return a.since_start - b.since_start;
  }
};

}  // namespace lb
