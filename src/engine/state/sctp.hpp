// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/state/tcp.hpp"

namespace lb::engine {

/// States of an SCTP association as IPVS follows it, in the kernel's numbering.
enum class SctpState : std::uint8_t {
  kNone,
  kInit1,
  kInit,
  kCookieSent,
  kCookieReplied,
  kCookieWait,
  kCookie,
  kCookieEchoed,
  kEstablished,
  kShutdownSent,
  kShutdownReceived,
  kShutdownAckSent,
  kRejected,
  kClosed,
};
inline constexpr std::size_t kSctpStateCount = 14;

inline constexpr std::array<std::string_view, kSctpStateCount> kSctpStateNames{
    "NONE",     "INIT1",       "INIT",   "C-SENT",     "C-REPLIED",  "C-WAIT",   "COOKIE",
    "C-ECHOED", "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"};

/// Seconds without a packet after which an association in that state expires.
inline constexpr std::array<std::uint32_t, kSctpStateCount> kSctpDefaultTimeouts{
    2, 4, 61, 61, 61, 61, 61, 61, 15 * 60, 61, 61, 61, 4, 61};

/// The state after a packet whose SCTP part (common header on) is `packet`; unchanged if no chunk
/// is there to be read.
[[nodiscard]] SctpState next_sctp_state(SctpState state, Direction direction,
                                        std::span<const std::byte> packet) noexcept;

// Chunk types that decide whether a packet may open a connection.
inline constexpr std::uint8_t kSctpInit = 1;
inline constexpr std::uint8_t kSctpAbort = 6;

/// The type of the first chunk; nothing if there is none (RFC 9260, 3.2).
[[nodiscard]] std::optional<std::uint8_t> sctp_first_chunk(
    std::span<const std::byte> packet) noexcept;

}  // namespace lb::engine
