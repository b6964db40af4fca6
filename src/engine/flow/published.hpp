// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "net/address.hpp"

namespace lb::engine {

// Stores and loads of memory that XDP uses at the same time on other CPUs.

template <class Word>
[[nodiscard]] inline Word load_shared(const Word& place) noexcept {
  return std::atomic_ref<Word>(const_cast<Word&>(place)).load(std::memory_order_acquire);
}

/// Visible after all that was stored before.
template <class Word>
inline void store_shared(Word& place, Word value) noexcept {
  std::atomic_ref<Word>(place).store(value, std::memory_order_release);
}

/// Changes an entry whose readers look at its `sequence` before and after: odd while it changes.
template <class Entry, class Change>
inline void change_shared(Entry& entry, Change change) noexcept {
  const auto sequence = entry.sequence;
  store_shared(entry.sequence, static_cast<decltype(entry.sequence)>(sequence | 1U));
  std::atomic_thread_fence(std::memory_order_seq_cst);
  change(entry);
  store_shared(entry.sequence, static_cast<decltype(entry.sequence)>((sequence | 1U) + 1));
}

/// The two halves of an address as they lie in memory.
[[nodiscard]] inline std::array<std::uint64_t, 2> halves(const net::IpAddress& address) noexcept {
  return std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes());
}

}  // namespace lb::engine
