// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Moves the state of connection `id` by this packet. `is_reply`: from the real server.
void track(DirectorState& state, const PacketContext& context, ConnectionId id,
           bool is_reply) noexcept;

/// Closes the books on a packet with `verdict`: starts the connection's idle time anew, or ends the
/// connection if it was for this packet only. If XDP can forward the next such packet by itself, it
/// learns how.
void settle(DirectorState& state, const PacketContext& context, ConnectionId id,
            const Verdict& verdict, bool is_reply) noexcept;

}  // namespace lb::engine
