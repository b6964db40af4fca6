// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/forward/icmp_error.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// What a packet is, when it is sent to a destination: it decides about "too big" answers.
enum class Payload : std::uint8_t { kRequest, kIcmpError };

/// Tells the packet's sender of `error`, if that may be told at all.
void report_error(DirectorState& state, PacketContext& context, const IcmpError& error) noexcept;

/// Sends a client's packet to the real server of connection `id`, by the connection's
/// forwarding method.
[[nodiscard]] Verdict transmit(DirectorState& state, PacketContext& context,
                               ConnectionId id) noexcept;

/// Sends the answer of a masqueraded real server to the client, as from the virtual end `from`.
[[nodiscard]] Verdict send_answer(DirectorState& state, PacketContext& context,
                                  const net::Endpoint& from) noexcept;

/// The way to the connection's real server, looked up anew only when the network has changed.
[[nodiscard]] CachedRoute route_to_server(DirectorState& state, ConnectionId id) noexcept;

/// What happens to every packet between routing and rewriting: TTL, MTU. Nothing if it may go on.
[[nodiscard]] std::optional<Verdict> check_hop(DirectorState& state, PacketContext& context,
                                               std::uint32_t mtu, Payload payload,
                                               bool is_tunnel) noexcept;

/// Writes the link header and sends the packet, cut up if it does not fit.
[[nodiscard]] Verdict send_out(DirectorState& state, PacketContext& context,
                               const NextHop& hop) noexcept;

}  // namespace lb::engine
