// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "net/parse.hpp"

namespace lb::engine {

/// By how much the sequence numbers of one direction of a TCP stream have moved since the director
/// changed the length of what was said.
///
/// As in the kernel's connection tracking, the last change and the sum of those before it are
/// kept: what is sent again from before the last change is moved by the old sum. Numbers are
/// compared as TCP does, on a circle (RFC 9293, 3.4).
///
/// Example: at 5000 the sender said 50 bytes, of which the receiver saw 48. The sender's 5050 is
/// the receiver's 5048, and the receiver's acknowledgement of 5048 is the sender's 5050.
struct SequenceShift {
  std::uint32_t position = 0;  ///< the sender's number of the packet that was changed last
  std::int32_t before = 0;     ///< bytes added by all changes but the last
  std::int32_t after = 0;      ///< bytes added by all changes

  /// Notes that the packet at `sequence` grew by `bytes`, or shrank.
  void move(std::uint32_t sequence, std::int32_t bytes) noexcept;
  /// The receiver's number for one of the sender's.
  [[nodiscard]] std::uint32_t to_receiver(std::uint32_t sequence) const noexcept;
  /// The sender's number for one of the receiver's.
  [[nodiscard]] std::uint32_t to_sender(std::uint32_t sequence) const noexcept;
  [[nodiscard]] bool is_idle() const noexcept { return before == 0 && after == 0; }
};

/// Moves the sequence number of a packet from the sender. The checksum is kept up to date; it must
/// not be an unfinished one (`complete_checksum`). Nothing happens to a packet whose TCP header is
/// cut off; so below.
void adjust_sequence(std::span<std::byte> bytes, const net::Headers& headers,
                     const SequenceShift& shift) noexcept;

/// Moves the acknowledgement of a packet from the receiver, and what it says to have got out of
/// order (SACK, RFC 2018).
void adjust_acknowledgement(std::span<std::byte> bytes, const net::Headers& headers,
                            const SequenceShift& shift) noexcept;

}  // namespace lb::engine
