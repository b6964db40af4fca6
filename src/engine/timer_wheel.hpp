// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/zeroed_array.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// When to look at which connection: a hierarchical timer wheel over record indices, one timer
/// each.
///
/// Timers are lazy. Every packet moves a connection's expiry, but the wheel is told only when the
/// new time is earlier than the armed one; a timer that fires too early finds the later expiry
/// in the record and is armed again. Since its owner knows the time, the wheel does not keep it: a
/// timer is two links, and the slot that it is in says when it fires. Arm, disarm and fire are
/// O(1); nothing allocates after construction.
///
/// The near wheel has a slot for each of the next 65,536 ticks of 16 ms (17 minutes), longer than
/// the timeouts of IPVS (3 to 900 s). Such a timer fires at the first tick at or after its time,
/// never before, if `next_due` is called that often. Two far wheels of 256 slots hold what is
/// longer: each slot spans a whole turn of the wheel below, and what is in it fires when that turn
/// begins, early, to be armed again by its owner. What lies beyond them (795 days) waits in their
/// last slot and fires as early. Bitmaps of the slots in use let time jump over empty ones.
class TimerWheel {
 public:
  static constexpr Duration kTick = std::chrono::milliseconds(16);

  /// For indices 1..capacity (less than 2^31).
  TimerWheel(std::uint32_t capacity, Timestamp start, BlockHint hint = nullptr);

  /// Arms (or re-arms) the timer of `index` to fire at `when`, rounded up to a tick. A time that
  /// has passed is due at once.
  void arm(std::uint32_t index, Timestamp when) noexcept;
  /// Does nothing if it is not armed.
  void disarm(std::uint32_t index) noexcept;
  [[nodiscard]] bool is_armed(std::uint32_t index) const noexcept;
  /// Moves time towards `now` and returns the next timer that is due, disarmed, or one that was set
  /// for more than 17 minutes and must be armed again; 0 if there is none. Call it until it returns
  /// 0, or leave the rest for later: no timer is lost. `now` must not go back. Timers of one tick
  /// come in no particular order.
  [[nodiscard]] std::uint32_t next_due(Timestamp now) noexcept;

 private:
  static constexpr unsigned kNearBits = 16;
  static constexpr unsigned kFarBits = 8;
  static constexpr std::uint32_t kNearSlots = 1U << kNearBits;
  static constexpr std::uint32_t kFarSlots = 1U << kFarBits;
  // Slot numbers: the near wheel, the two far ones, and the lists of those that fire: from the near
  // wheel, and from either far one.
  static constexpr std::uint32_t kMiddle = kNearSlots;
  static constexpr std::uint32_t kOuter = kMiddle + kFarSlots;
  static constexpr std::uint32_t kDue = kOuter + kFarSlots;
  static constexpr std::uint32_t kFromMiddle = kDue + 1;
  static constexpr std::uint32_t kFromOuter = kFromMiddle + 1;
  static constexpr std::uint32_t kSlots = kFromOuter + 1;
  static constexpr std::size_t kWords = kSlots / 64 + 1;
  static constexpr std::uint32_t kSlotBit = 1U << 31;

  struct Node {
    std::uint32_t next;      // 0: last of its list
    std::uint32_t previous;  // index, or kSlotBit | slot at the head of a list; 0: not armed
  };
  [[nodiscard]] std::uint32_t slot_for(std::int64_t tick) const noexcept;
  void link(std::uint32_t index, std::uint32_t slot) noexcept;
  void unlink(std::uint32_t index) noexcept;
  void mark_used(std::uint32_t slot) noexcept;
  void mark_empty(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t next_used(std::uint32_t base, std::uint32_t slots,
                                        std::uint32_t after) const noexcept;
  [[nodiscard]] std::int64_t next_event() const noexcept;
  void move_list(std::uint32_t from, std::uint32_t to) noexcept;
  void enter(std::int64_t tick) noexcept;

  ZeroedArray<Node> nodes_;
  ZeroedArray<std::uint32_t> heads_;  // of the slots' lists; 0: empty
  // A bit for each slot in use, and a bit for each word of those that is not 0.
  std::array<std::uint64_t, kWords> used_{};
  std::array<std::uint64_t, kWords / 64 + 1> used_words_{};
  std::int64_t current_tick_;  // all timers up to this tick are in the due list, or have fired
};

}  // namespace lb::engine
