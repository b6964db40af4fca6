// SPDX-License-Identifier: Apache-2.0
#include "engine/state/sctp.hpp"

#include "net/byte_order.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

using enum SctpState;

constexpr std::size_t kCommonHeader = 12;  // ports, verification tag, checksum
constexpr std::size_t kChunkHeader = 4;    // type, flags, length

// Chunk types, RFC 9260 3.2.
enum ChunkType : std::uint8_t {
  kChunkInitAck = 2,
  kChunkShutdown = 7,
  kChunkShutdownAck = 8,
  kChunkError = 9,
  kChunkCookieEcho = 10,
  kChunkCookieAck = 11,
  kChunkShutdownComplete = 14,
};

enum Event : std::uint8_t {
  kData,
  kInitEvent,
  kInitAck,
  kCookieEcho,
  kCookieAck,
  kShutdown,
  kShutdownAck,
  kShutdownComplete,
  kError,
  kAbort,
};
constexpr std::size_t kEventCount = 10;
constexpr std::size_t kDirectionCount = 3;

using States = std::uint16_t;

template <class... S>
constexpr States states(S... s) {
  return static_cast<States>((0U | ... | (1U << static_cast<unsigned>(s))));
}

struct Table {
  SctpState next[kDirectionCount][kEventCount][kSctpStateCount]{};

  constexpr Table() {
    for (auto& direction : next) {
      for (auto& event : direction) {
        for (std::size_t s = 0; s < kSctpStateCount; ++s) event[s] = static_cast<SctpState>(s);
      }
    }
  }
  constexpr void rule(Direction direction, Event event, States from, SctpState to) {
    for (std::size_t s = 0; s < kSctpStateCount; ++s) {
      if ((from >> s & 1U) != 0) next[static_cast<std::size_t>(direction)][event][s] = to;
    }
  }
};

// Sets that recur: the states of an association being set up.
constexpr States kOpening = states(kNone, kInit1, kInit);
constexpr States kSetup = states(kNone, kInit1, kInit, kCookieSent, kCookieReplied);

constexpr void add_input(Table& t) {
  constexpr auto d = Direction::kInput;
  t.rule(d, kData, states(kNone), kEstablished);
  t.rule(d, kInitEvent, states(kNone), kInit1);
  t.rule(d, kInitEvent, states(kInit1, kRejected, kClosed), kInit);
  t.rule(d, kInitAck, kOpening, kCookieWait);
  t.rule(d, kInitAck, states(kCookieWait), kCookie);
  t.rule(d, kCookieEcho, states(kNone, kCookieSent), kCookieReplied);
  t.rule(d, kCookieEcho, states(kInit1), kInit);
  t.rule(d, kCookieAck, states(kNone, kCookieEchoed), kEstablished);
  t.rule(d, kShutdown, states(kNone, kEstablished), kShutdownReceived);
  t.rule(d, kShutdownAck, states(kNone, kShutdownSent, kShutdownAckSent), kClosed);
  t.rule(d, kShutdownAck, states(kInit1), kInit);
  t.rule(d, kShutdownComplete, states(kNone, kInit1, kInit, kShutdownAckSent), kClosed);
  t.rule(d, kError, states(kNone, kCookieEchoed), kClosed);
  t.rule(d, kAbort,
         kSetup | states(kCookie, kCookieEchoed, kEstablished, kShutdownSent, kShutdownReceived,
                         kShutdownAckSent, kRejected),
         kClosed);
  t.rule(d, kAbort, states(kCookieWait), kRejected);
}

constexpr void add_output(Table& t) {
  constexpr auto d = Direction::kOutput;
  t.rule(d, kData, states(kNone), kEstablished);
  t.rule(d, kInitEvent,
         kSetup | states(kCookie, kCookieEchoed, kShutdownSent, kShutdownReceived, kShutdownAckSent,
                         kRejected, kClosed),
         kCookieWait);
  t.rule(d, kInitAck, kOpening, kCookieSent);
  t.rule(d, kCookieEcho, kSetup | states(kCookieWait, kCookie), kCookieEchoed);
  t.rule(d, kCookieAck, kSetup | states(kCookieWait, kCookie, kCookieEchoed), kEstablished);
  t.rule(d, kShutdown, kSetup | states(kCookieWait, kCookie, kCookieEchoed, kEstablished),
         kShutdownSent);
  t.rule(d, kShutdownAck, kSetup | states(kShutdownSent, kShutdownReceived), kShutdownAckSent);
  t.rule(d, kShutdownComplete, states(kNone), kClosed);
  t.rule(d, kError, kSetup, kClosed);
  t.rule(d, kAbort,
         states(kNone, kInit, kCookieSent, kCookieReplied, kCookieWait, kCookie, kCookieEchoed,
                kEstablished, kShutdownSent, kShutdownReceived, kShutdownAckSent, kRejected),
         kClosed);
  t.rule(d, kAbort, states(kInit1), kRejected);
}

// The server's chunks are not seen: the client's alone must carry the association through.
constexpr void add_input_only(Table& t) {
  constexpr auto d = Direction::kInputOnly;
  t.rule(d, kData, states(kNone, kCookieWait), kEstablished);
  t.rule(d, kInitEvent, states(kNone), kInit1);
  t.rule(d, kInitEvent,
         states(kInit1, kCookieSent, kCookieReplied, kCookieWait, kRejected, kClosed), kInit);
  t.rule(d, kInitAck, kSetup | states(kCookieWait), kCookieEchoed);
  t.rule(d, kCookieEcho, kSetup | states(kCookieWait), kEstablished);
  t.rule(d, kCookieAck, states(kNone, kCookieSent, kCookieReplied, kCookie, kCookieEchoed),
         kEstablished);
  t.rule(d, kShutdown, states(kNone, kEstablished), kShutdownReceived);
  t.rule(d, kShutdownAck, states(kNone, kEstablished, kShutdownSent, kShutdownAckSent), kClosed);
  t.rule(d, kShutdownAck, states(kInit1), kInit);
  t.rule(d, kShutdownComplete, kSetup | states(kShutdownReceived, kShutdownAckSent), kClosed);
  t.rule(d, kError, states(kNone), kClosed);
  t.rule(d, kAbort,
         kSetup | states(kCookie, kCookieEchoed, kEstablished, kShutdownSent, kShutdownReceived,
                         kShutdownAckSent, kRejected),
         kClosed);
  t.rule(d, kAbort, states(kCookieWait), kRejected);
}

constexpr Table make_table() {
  Table t;
  add_input(t);
  add_output(t);
  add_input_only(t);
  return t;
}

constexpr Table kTable = make_table();

std::optional<std::uint8_t> chunk_type(std::span<const std::byte> packet, std::size_t offset) {
  if (!net::holds(packet, offset, kChunkHeader)) return std::nullopt;
  return net::load<std::uint8_t>(packet, offset);
}

Event event_of(std::uint8_t type) {
  switch (type) {
    case kSctpInit:
      return kInitEvent;
    case kChunkInitAck:
      return kInitAck;
    case kSctpAbort:
      return kAbort;
    case kChunkShutdown:
      return kShutdown;
    case kChunkShutdownAck:
      return kShutdownAck;
    case kChunkError:
      return kError;
    case kChunkCookieEcho:
      return kCookieEcho;
    case kChunkCookieAck:
      return kCookieAck;
    case kChunkShutdownComplete:
      return kShutdownComplete;
    default:
      return kData;  // DATA, SACK, HEARTBEAT, ECN and what is not known
  }
}

}  // namespace

SctpState next_sctp_state(SctpState state, Direction direction,
                          std::span<const std::byte> packet) noexcept {
  auto type = chunk_type(packet, kCommonHeader);
  if (!type) return state;
  // A cookie chunk may be bundled with what follows it; an ABORT there is what counts.
  if (*type == kChunkCookieEcho || *type == kChunkCookieAck) {
    const auto length = net::load<net::Be16>(packet, kCommonHeader + 2).to_host();
    if (length >= kChunkHeader) {
      const std::size_t padded = (std::size_t{length} + 3) & ~std::size_t{3};
      const auto second = chunk_type(packet, kCommonHeader + padded);
      if (second == kSctpAbort) type = kSctpAbort;
    }
  }
  return kTable
      .next[static_cast<std::size_t>(direction)][event_of(*type)][static_cast<std::size_t>(state)];
}

std::optional<std::uint8_t> sctp_first_chunk(std::span<const std::byte> packet) noexcept {
  return chunk_type(packet, kCommonHeader);
}

}  // namespace lb::engine
