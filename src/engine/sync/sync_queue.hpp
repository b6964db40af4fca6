// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/sync/sync_message.hpp"
#include "engine/zeroed_array.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Messages on their way to other directors, and the one being filled.
///
/// Entries are gathered until a message is full, or two seconds old. Full ones are sent 20 ms
/// after the first was closed, or at once when eight wait. All memory is had at construction.
class SyncQueue {
 public:
  /// As many messages wait at most.
  static constexpr std::size_t kBatch = 8;
  static constexpr Duration kSendDelay = std::chrono::milliseconds(20);
  static constexpr Duration kFlushAge = std::chrono::seconds(2);

  /// `max_length`: bytes of a message, though one entry is always taken.
  SyncQueue(std::size_t max_length, std::uint8_t sync_id);

  /// Adds an entry to the message being filled, closing it first if it is full or of another
  /// version. At most `limit` closed messages wait: true if one had to be thrown away.
  [[nodiscard]] bool append(const SyncEntry& entry, int version, std::size_t limit,
                            Timestamp now) noexcept;
  /// The next message that is due; nothing if none is. Valid until the next `append`.
  [[nodiscard]] std::optional<std::span<const std::byte>> take_due(Timestamp now) noexcept;

 private:
  [[nodiscard]] std::span<std::byte> slot(std::size_t index) noexcept {
    return {memory_.data() + index * capacity_, capacity_};
  }
  [[nodiscard]] bool close(std::size_t limit, Timestamp now) noexcept;
  void begin(int version, Timestamp now) noexcept;

  static constexpr std::size_t kSlots = kBatch + 1;

  std::size_t max_length_;  // bytes of a message with several entries
  std::size_t capacity_;    // bytes of a slot
  std::uint8_t sync_id_;
  ZeroedArray<std::byte> memory_;  // a ring of slots: closed messages and the one being filled
  std::array<std::size_t, kSlots> closed_sizes_{};
  std::size_t oldest_ = 0;    // slot of the message closed first
  std::size_t waiting_ = 0;   // closed messages; the one being filled is in the slot behind them
  std::size_t filled_ = 0;    // bytes of the message being filled; 0: there is none
  unsigned entries_ = 0;      // in it
  int version_ = 1;           // of it
  bool is_draining_ = false;  // what waits is being taken
  Timestamp begun_{};         // when the message being filled was
  Timestamp closed_{};        // when the oldest message was
};

}  // namespace lb::engine
