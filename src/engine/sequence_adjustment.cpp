// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence_adjustment.hpp"

#include <bit>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::Be32;

constexpr std::size_t kSequence = 4;
constexpr std::size_t kAcknowledgement = 8;
constexpr std::size_t kDataOffset = 12;
constexpr std::size_t kChecksum = 16;
constexpr std::size_t kFixedHeader = 20;

constexpr std::uint8_t kOptionEnd = 0;
constexpr std::uint8_t kOptionNone = 1;
constexpr std::uint8_t kOptionSack = 5;

bool is_after(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b) > 0;
}

/// Replaces 32-bit words of a TCP segment and then brings its checksum up to date.
class SegmentEdit {
 public:
  explicit SegmentEdit(std::span<std::byte> segment) noexcept : segment_(segment) {}

  template <class Change>
  void word(std::size_t at, Change change) noexcept {
    const auto old_word = net::load<Be32>(segment_, at);
    const auto new_word = Be32::from_host(change(old_word.to_host()));
    net::store(segment_, at, new_word);
    if (at % 2 == 0) {
      update_.replace(old_word, new_word);
    } else {
      // A word that begins in the middle of a checksum word counts with its bytes the other way
      // round, which is the same as turned by eight bits (RFC 1071, 2).
      update_.replace(Be32::from_network(std::rotl(old_word.to_network(), 8)),
                      Be32::from_network(std::rotl(new_word.to_network(), 8)));
    }
  }
  void finish() noexcept {
    net::store(segment_, kChecksum, update_.apply(net::load<Be16>(segment_, kChecksum)));
  }

 private:
  std::span<std::byte> segment_;
  net::ChecksumUpdate update_;
};

std::span<std::byte> tcp_segment(std::span<std::byte> bytes, const net::Headers& headers) noexcept {
  const bool is_whole = headers.protocol == net::Protocol::kTcp && headers.has_transport_header;
  if (!is_whole) return {};
  return bytes.subspan(headers.transport_offset, headers.end - headers.transport_offset);
}

void adjust_sack(SegmentEdit& edit, std::span<const std::byte> segment,
                 const SequenceShift& shift) noexcept {
  const auto words = net::load<std::uint8_t>(segment, kDataOffset) >> 4;
  const auto end = std::size_t{4} * static_cast<std::size_t>(words);
  if (end > segment.size()) return;
  const auto change = [&](std::uint32_t number) { return shift.to_sender(number); };
  for (std::size_t at = kFixedHeader; at < end;) {
    const auto kind = net::load<std::uint8_t>(segment, at);
    if (kind == kOptionEnd) return;
    if (kind == kOptionNone) {
      ++at;
      continue;
    }
    if (end - at < 2) return;
    const std::size_t length = net::load<std::uint8_t>(segment, at + 1);
    if (length < 2 || length > end - at) return;
    if (kind == kOptionSack && (length - 2) % 8 == 0) {
      for (std::size_t edge = at + 2; edge < at + length; edge += 4) edit.word(edge, change);
    }
    at += length;
  }
}

}  // namespace

void SequenceShift::move(std::uint32_t sequence, std::int32_t bytes) noexcept {
  if (before != after && !is_after(sequence, position)) return;  // sent again
  position = sequence;
  before = after;
  // On a circle as well: a stream may run through any number of changes.
  after = static_cast<std::int32_t>(static_cast<std::uint32_t>(after) +
                                    static_cast<std::uint32_t>(bytes));
}

std::uint32_t SequenceShift::to_receiver(std::uint32_t sequence) const noexcept {
  return sequence + static_cast<std::uint32_t>(is_after(sequence, position) ? after : before);
}

std::uint32_t SequenceShift::to_sender(std::uint32_t sequence) const noexcept {
  const bool is_behind = is_after(sequence - static_cast<std::uint32_t>(before), position);
  return sequence - static_cast<std::uint32_t>(is_behind ? after : before);
}

void adjust_sequence(std::span<std::byte> bytes, const net::Headers& headers,
                     const SequenceShift& shift) noexcept {
  const auto segment = tcp_segment(bytes, headers);
  if (segment.size() < kFixedHeader || shift.is_idle()) return;
  SegmentEdit edit(segment);
  edit.word(kSequence, [&](std::uint32_t number) { return shift.to_receiver(number); });
  edit.finish();
}

void adjust_acknowledgement(std::span<std::byte> bytes, const net::Headers& headers,
                            const SequenceShift& shift) noexcept {
  const auto segment = tcp_segment(bytes, headers);
  if (segment.size() < kFixedHeader || shift.is_idle()) return;
  if ((headers.tcp_flags & net::kTcpAck) == 0) return;
  SegmentEdit edit(segment);
  edit.word(kAcknowledgement, [&](std::uint32_t number) { return shift.to_sender(number); });
  adjust_sack(edit, segment, shift);
  edit.finish();
}

}  // namespace lb::engine
