// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "engine/packet_context.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// What is known of the TCP sequence numbers of a SNAT connection: enough to tell an ICMP error
/// about a segment in flight from one made up by somebody who guesses addresses and ports
/// (RFC 5927, 4.1).
///
/// Noted of each packet that passes the engine. Packets that XDP forwards are not seen; when an
/// error then does not fit, the connection is taken out of the flow table, so that the next packets
/// come by, and the error is dropped. A true one comes again: the sender sends its segment again,
/// the router complains again, and that time the number is known.
class SnatNumbers {
 public:
  enum Side : std::uint8_t { kInside = 0, kOutside = 1 };

  /// A segment from `side` goes by.
  void note(const PacketContext& context, Side side) noexcept;
  /// Whether a segment from `side` that begins at `sequence` may be on its way.
  [[nodiscard]] bool is_in_flight(std::uint32_t sequence, Side side) const noexcept;

 private:
  /// More than this is in no window that hosts use by themselves (net.ipv4.tcp_wmem).
  static constexpr std::uint32_t kMostInFlight = 1U << 22;
  struct Sent {
    std::uint32_t acknowledged;  ///< by the other side; or where it was first seen
    std::uint32_t next;          ///< behind the last byte sent
  };
  std::array<Sent, 2> sides_;
  std::array<bool, 2> is_known_;
};

}  // namespace lb::engine
