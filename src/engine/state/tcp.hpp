// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lb::engine {

/// States of a TCP connection as IPVS follows it, in the kernel's numbering (the sync
/// protocol carries these numbers). A state is what the director infers, not what either end is in.
enum class TcpState : std::uint8_t {
  kNone,
  kEstablished,
  kSynSent,
  kSynRecv,
  kFinWait,
  kTimeWait,
  kClose,
  kCloseWait,
  kLastAck,
  kListen,
  kSynAck,
};
inline constexpr std::size_t kTcpStateCount = 11;

inline constexpr std::array<std::string_view, kTcpStateCount> kTcpStateNames{
    "NONE",  "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT",
    "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "SYNACK"};

/// Seconds without a packet after which a connection in that state expires.
inline constexpr std::array<std::uint32_t, kTcpStateCount> kTcpDefaultTimeouts{
    2, 15 * 60, 2 * 60, 60, 2 * 60, 2 * 60, 10, 60, 30, 2 * 60, 2 * 60};

/// Which way a packet goes, as the state machine sees it. `kInputOnly` is from the client on a
/// connection whose answers do not pass the director (direct routing, tunnel).
enum class Direction : std::uint8_t { kInput, kOutput, kInputOnly };

/// The state after a packet with `tcp_flags` (net::TcpFlag bits). `secure` selects the table
/// of net.ipv4.vs.secure_tcp, in which a connection counts as established only after both sides
/// spoke.
[[nodiscard]] TcpState next_tcp_state(TcpState state, Direction direction, std::uint8_t tcp_flags,
                                      bool secure) noexcept;

/// True for the states that count as active connections.
[[nodiscard]] bool is_active(TcpState state) noexcept;

}  // namespace lb::engine
