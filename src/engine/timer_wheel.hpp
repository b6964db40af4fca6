// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "net/time.hpp"

namespace lb::engine {

/// When to look at which connection: a hierarchical timer wheel over record indices, one timer
/// each.
///
/// Timers are lazy. Every packet moves a connection's expiry, but the wheel is told only when the
/// new time is earlier than the armed one; a timer that fires too early finds the later expiry
/// in the record and is armed again. Arm, disarm and fire are O(1); nothing allocates after
/// construction. Ticks are 16 ms; times beyond the wheel's reach are parked in its last slot
/// and come round again.
class TimerWheel {
 public:
  /// For indices 1..capacity.
  TimerWheel(std::uint32_t capacity, Timestamp start);

  /// Arms (or re-arms) the timer of `index` to fire at `when`, rounded up to a tick.
  void arm(std::uint32_t index, Timestamp when) noexcept;
  /// Does nothing if it is not armed.
  void disarm(std::uint32_t index) noexcept;
  /// When the timer is set to fire; nothing if it is not armed.
  [[nodiscard]] std::optional<Timestamp> armed(std::uint32_t index) const noexcept;
  /// Moves time towards `now` and returns the next timer that is due, disarmed; 0 if none is.
  /// Call it until it returns 0, or leave the rest for later: no timer is lost.
  [[nodiscard]] std::uint32_t next_due(Timestamp now) noexcept;

 private:
  struct Node {
    std::uint32_t next = 0;
    std::uint32_t previous = 0;  // index, or kSlotBit | slot number at the head of a list
    std::int64_t tick = -1;      // when to fire; -1: not armed
  };
  void link(std::uint32_t index) noexcept;
  void unlink(std::uint32_t index) noexcept;

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> slots_;
  std::int64_t current_tick_ = 0;
};

}  // namespace lb::engine
