// SPDX-License-Identifier: Apache-2.0
#include "engine/timer_wheel.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>

namespace lb::engine {

namespace {

constexpr std::int64_t kTickNanoseconds = TimerWheel::kTick.count();
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

constexpr std::int64_t tick_before(Timestamp time) noexcept {
  const std::int64_t count = time.since_start.count();
  return count / kTickNanoseconds - (count % kTickNanoseconds < 0 ? 1 : 0);
}

constexpr std::int64_t tick_after(Timestamp time) noexcept {
  const std::int64_t count = time.since_start.count();
  return count / kTickNanoseconds + (count % kTickNanoseconds > 0 ? 1 : 0);
}

// The first tick after `tick` whose number modulo `slots * span` lies in turn `slot`.
constexpr std::int64_t next_turn(std::int64_t tick, std::uint32_t slot, std::uint32_t slots,
                                 unsigned span_bits) noexcept {
  const std::int64_t turn = tick >> span_bits;
  const std::int64_t mask = std::int64_t{slots} - 1;
  std::int64_t distance = (slot - turn) & mask;
  if (distance == 0) distance = slots;
  return (turn + distance) << span_bits;
}

}  // namespace

TimerWheel::TimerWheel(std::uint32_t capacity, Timestamp start, BlockHint hint)
    : nodes_(std::size_t{capacity} + 1, hint), heads_(kSlots), current_tick_(tick_before(start)) {
  assert(capacity < kSlotBit);
}

void TimerWheel::arm(std::uint32_t index, Timestamp when) noexcept {
  assert(index != 0 && index < nodes_.size());
  disarm(index);
  link(index, slot_for(tick_after(when)));
}

void TimerWheel::disarm(std::uint32_t index) noexcept {
  assert(index != 0 && index < nodes_.size());
  if (nodes_[index].previous != 0) unlink(index);
}

bool TimerWheel::is_armed(std::uint32_t index) const noexcept {
  assert(index < nodes_.size());
  return nodes_[index].previous != 0;
}

std::uint32_t TimerWheel::next_due(Timestamp now) noexcept {
  const std::int64_t target = tick_before(now);
  for (;;) {
    for (const std::uint32_t list : {kDue, kFromMiddle, kFromOuter}) {
      const std::uint32_t index = heads_[list];
      if (index == 0) continue;
      unlink(index);
      return index;
    }
    if (current_tick_ >= target) return 0;
    const std::int64_t event = next_event();
    if (event > target) {
      current_tick_ = target;
      return 0;
    }
    enter(event);
  }
}

std::uint32_t TimerWheel::slot_for(std::int64_t tick) const noexcept {
  constexpr std::int64_t kMiddleReach = std::int64_t{1} << (kNearBits + kFarBits);
  constexpr std::int64_t kOuterReach = std::int64_t{1} << (kNearBits + 2 * kFarBits);
  if (tick <= current_tick_) return kDue;
  const std::int64_t distance = tick - current_tick_;
  if (distance < kNearSlots) return static_cast<std::uint32_t>(tick & (kNearSlots - 1));
  if (distance < kMiddleReach) {
    return kMiddle + static_cast<std::uint32_t>((tick >> kNearBits) & (kFarSlots - 1));
  }
  const std::int64_t reached = std::min(tick, current_tick_ + kOuterReach - 1);
  return kOuter + static_cast<std::uint32_t>((reached >> (kNearBits + kFarBits)) & (kFarSlots - 1));
}

void TimerWheel::link(std::uint32_t index, std::uint32_t slot) noexcept {
  Node& node = nodes_[index];
  node.next = heads_[slot];
  node.previous = kSlotBit | slot;
  if (node.next != 0) {
    nodes_[node.next].previous = index;
  } else {
    mark_used(slot);
  }
  heads_[slot] = index;
}

void TimerWheel::unlink(std::uint32_t index) noexcept {
  Node& node = nodes_[index];
  if ((node.previous & kSlotBit) != 0) {
    const std::uint32_t slot = node.previous & ~kSlotBit;
    heads_[slot] = node.next;
    if (node.next == 0) mark_empty(slot);
  } else {
    nodes_[node.previous].next = node.next;
  }
  if (node.next != 0) nodes_[node.next].previous = node.previous;
  node.previous = 0;
}

void TimerWheel::mark_used(std::uint32_t slot) noexcept {
  const std::uint32_t word = slot / 64;
  used_[word] |= std::uint64_t{1} << (slot % 64);
  used_words_[word / 64] |= std::uint64_t{1} << (word % 64);
}

void TimerWheel::mark_empty(std::uint32_t slot) noexcept {
  const std::uint32_t word = slot / 64;
  used_[word] &= ~(std::uint64_t{1} << (slot % 64));
  if (used_[word] == 0) used_words_[word / 64] &= ~(std::uint64_t{1} << (word % 64));
}

/// Of the wheel of `slots` slots from `base` on: the first slot in use from `after` + 1 round to
/// `after`, as a number within the wheel; `slots` if there is none.
std::uint32_t TimerWheel::next_used(std::uint32_t base, std::uint32_t slots,
                                    std::uint32_t after) const noexcept {
  const std::uint32_t first_word = base / 64;
  const std::uint32_t words = slots / 64;
  const std::uint32_t start = (after + 1) & (slots - 1);
  const std::uint64_t rest = used_[first_word + start / 64] & (~std::uint64_t{0} << (start % 64));
  if (rest != 0) {
    return start / 64 * 64 + static_cast<std::uint32_t>(std::countr_zero(rest));
  }
  // The words behind it, then those from the beginning up to and with its own.
  std::uint32_t word = start / 64 + 1;
  for (std::uint32_t left = words; left != 0;) {
    if (word >= words) word = 0;
    const std::uint32_t at = first_word + word;
    // As many words as one look at the summary covers.
    const std::uint32_t covered = std::min({64 - at % 64, words - word, left});
    const std::uint64_t summary = used_words_[at / 64] >> (at % 64);
    const auto skip = static_cast<std::uint32_t>(std::countr_zero(summary));
    if (skip < covered) {
      return (word + skip) * 64 + static_cast<std::uint32_t>(std::countr_zero(used_[at + skip]));
    }
    word += covered;
    left -= covered;
  }
  return slots;
}

/// The next tick at which a slot comes due.
std::int64_t TimerWheel::next_event() const noexcept {
  std::int64_t event = kNever;
  const auto look = [&](std::uint32_t base, std::uint32_t slots, unsigned span_bits) noexcept {
    const auto after =
        static_cast<std::uint32_t>((current_tick_ >> span_bits) & (std::int64_t{slots} - 1));
    const std::uint32_t slot = next_used(base, slots, after);
    if (slot != slots) event = std::min(event, next_turn(current_tick_, slot, slots, span_bits));
  };
  look(0, kNearSlots, 0);
  look(kMiddle, kFarSlots, kNearBits);
  look(kOuter, kFarSlots, kNearBits + kFarBits);
  return event;
}

/// Makes the list of one slot that of another, which must be empty.
void TimerWheel::move_list(std::uint32_t from, std::uint32_t to) noexcept {
  const std::uint32_t head = heads_[from];
  if (head == 0) return;
  heads_[from] = 0;
  mark_empty(from);
  heads_[to] = head;
  nodes_[head].previous = kSlotBit | to;
  mark_used(to);
}

/// Moves time to `tick`, which is no later than `next_event`. Nothing must be due.
void TimerWheel::enter(std::int64_t tick) noexcept {
  current_tick_ = tick;
  const auto slot = [tick](unsigned bits, std::uint32_t slots) noexcept {
    return static_cast<std::uint32_t>((tick >> bits) & (std::int64_t{slots} - 1));
  };
  if (slot(0, kNearSlots) == 0) {
    if (slot(kNearBits, kFarSlots) == 0) {
      move_list(kOuter + slot(kNearBits + kFarBits, kFarSlots), kFromOuter);
    }
    move_list(kMiddle + slot(kNearBits, kFarSlots), kFromMiddle);
  }
  // What is in the near slot is due as a whole.
  move_list(slot(0, kNearSlots), kDue);
}

}  // namespace lb::engine
