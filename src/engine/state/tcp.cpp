// SPDX-License-Identifier: Apache-2.0
#include "engine/state/tcp.hpp"

#include "net/parse.hpp"

namespace lb::engine {
namespace {

using enum TcpState;

// What a packet means to the state machine: the first that applies, in this order.
enum Event : std::uint8_t { kRst, kSyn, kFin, kAck };
constexpr std::size_t kEventCount = 4;
constexpr std::size_t kDirectionCount = 3;

using States = std::uint16_t;  // a set of states, one bit each

template <class... S>
constexpr States states(S... s) {
  return static_cast<States>((0U | ... | (1U << static_cast<unsigned>(s))));
}
constexpr States kAll = (1U << kTcpStateCount) - 1;
template <class... S>
constexpr States all_but(S... s) {
  return static_cast<States>(kAll & ~states(s...));
}

struct Table {
  TcpState next[kDirectionCount][kEventCount][kTcpStateCount]{};

  // States stay as they are unless a rule says otherwise.
  constexpr Table() {
    for (auto& direction : next) {
      for (auto& event : direction) {
        for (std::size_t s = 0; s < kTcpStateCount; ++s) event[s] = static_cast<TcpState>(s);
      }
    }
  }
  constexpr void rule(Direction direction, Event event, States from, TcpState to) {
    for (std::size_t s = 0; s < kTcpStateCount; ++s) {
      if ((from >> s & 1U) != 0) next[static_cast<std::size_t>(direction)][event][s] = to;
    }
  }
};

constexpr Table normal_table() {
  using enum Direction;
  Table t;
  for (const auto direction : {kInput, kInputOnly}) {
    t.rule(direction, kSyn, states(kEstablished, kSynSent), kEstablished);
    t.rule(direction, kSyn, all_but(kEstablished, kSynSent), kSynRecv);
    t.rule(direction, kFin, states(kNone), kClose);
    t.rule(direction, kAck, states(kNone, kSynRecv, kSynAck), kEstablished);
    t.rule(direction, kAck, states(kLastAck), kClose);
  }
  t.rule(kInput, kFin, states(kEstablished), kCloseWait);
  t.rule(kInput, kFin, states(kSynRecv, kFinWait, kSynAck), kTimeWait);
  t.rule(kInput, kRst, all_but(kSynRecv, kSynAck, kLastAck, kListen), kClose);
  t.rule(kInput, kRst, states(kSynAck), kSynRecv);

  // Without sight of the server's side, the client's FIN only begins the close.
  t.rule(kInputOnly, kFin, states(kEstablished), kFinWait);
  t.rule(kInputOnly, kFin, states(kSynRecv, kSynAck), kTimeWait);
  t.rule(kInputOnly, kRst, all_but(kSynRecv, kLastAck, kListen), kClose);

  t.rule(kOutput, kSyn, states(kNone, kFinWait, kTimeWait, kClose, kCloseWait, kLastAck), kSynSent);
  t.rule(kOutput, kSyn, states(kSynAck), kSynRecv);
  t.rule(kOutput, kFin, states(kNone, kSynRecv, kCloseWait, kSynAck), kTimeWait);
  t.rule(kOutput, kFin, states(kEstablished), kFinWait);
  t.rule(kOutput, kAck, states(kNone, kSynRecv, kListen, kSynAck), kEstablished);
  t.rule(kOutput, kRst, all_but(kSynSent, kTimeWait), kClose);
  return t;
}

// Differences of the table under secure_tcp: half-open connections stay in states that the
// drop_entry defence may throw away until the server has answered.
constexpr Table secure_table() {
  using enum Direction;
  Table t = normal_table();
  t.rule(kInput, kSyn, states(kSynAck), kSynAck);
  t.rule(kInput, kFin, states(kSynAck), kSynAck);
  t.rule(kInput, kAck, states(kSynRecv), kSynRecv);
  t.rule(kInput, kAck, states(kSynAck), kSynAck);
  t.rule(kInput, kRst, states(kSynAck), kClose);
  t.rule(kOutput, kSyn, states(kSynRecv, kSynAck), kSynAck);
  t.rule(kInputOnly, kSyn, all_but(kEstablished, kSynSent, kSynRecv), kSynAck);
  return t;
}

constexpr Table kNormal = normal_table();
constexpr Table kSecure = secure_table();

}  // namespace

TcpState next_tcp_state(TcpState state, Direction direction, std::uint8_t tcp_flags,
                        bool secure) noexcept {
  Event event;
  if ((tcp_flags & net::kTcpRst) != 0) {
    event = kRst;
  } else if ((tcp_flags & net::kTcpSyn) != 0) {
    event = kSyn;
  } else if ((tcp_flags & net::kTcpFin) != 0) {
    event = kFin;
  } else if ((tcp_flags & net::kTcpAck) != 0) {
    event = kAck;
  } else {
    return kClose;  // no legal segment of an open connection lacks all four
  }
  const Table& table = secure ? kSecure : kNormal;
  return table.next[static_cast<std::size_t>(direction)][event][static_cast<std::size_t>(state)];
}

bool is_active(TcpState state) noexcept {
  constexpr States kActive = states(kEstablished, kSynSent, kSynRecv, kSynAck);
  return (kActive >> static_cast<unsigned>(state) & 1U) != 0;
}

}  // namespace lb::engine
