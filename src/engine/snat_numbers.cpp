// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_numbers.hpp"

#include "net/bytes.hpp"

namespace lb::engine {
namespace {

constexpr std::size_t kSequence = 4;
constexpr std::size_t kAcknowledgement = 8;
constexpr std::size_t kDataOffset = 12;

/// How far `a` is ahead of `b`, around the circle.
std::int32_t ahead(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b);
}

}  // namespace

void SnatNumbers::note(const PacketContext& context, Side side) noexcept {
  const auto segment = context.transport();
  if (!context.headers.has_transport_header) return;
  const auto flags = context.headers.tcp_flags;
  const std::size_t header = std::size_t{net::load<std::uint8_t>(segment, kDataOffset)} / 16 * 4;
  const auto sequence = net::load<net::Be32>(segment, kSequence).to_host();
  auto length = static_cast<std::uint32_t>(segment.size() > header ? segment.size() - header : 0);
  if ((flags & net::kTcpSyn) != 0) ++length;
  if ((flags & net::kTcpFin) != 0) ++length;

  auto& sent = sides_[side];
  const bool begins = (flags & net::kTcpSyn) != 0;
  if (!is_known_[side] || begins) {
    sent = {.acknowledged = sequence, .next = sequence + length};
    is_known_[side] = true;
  } else if (ahead(sequence + length, sent.next) > 0) {
    sent.next = sequence + length;
    // What XDP forwarded meanwhile was mostly acknowledged.
    if (sent.next - sent.acknowledged > kMostInFlight) sent.acknowledged = sequence;
  }
  if ((flags & net::kTcpAck) == 0) return;
  auto& other = sides_[1 - side];
  const auto acknowledged = net::load<net::Be32>(segment, kAcknowledgement).to_host();
  // Nobody acknowledges what was not sent.
  if (is_known_[1 - side] && ahead(acknowledged, other.acknowledged) > 0 &&
      ahead(acknowledged, other.next) <= 0) {
    other.acknowledged = acknowledged;
  }
}

bool SnatNumbers::is_in_flight(std::uint32_t sequence, Side side) const noexcept {
  const auto& sent = sides_[side];
  return is_known_[side] && ahead(sequence, sent.acknowledged) >= 0 &&
         ahead(sequence, sent.next) <= 0;
}

}  // namespace lb::engine
