// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Handles the answer of a real server to a client. Nothing if the packet answers no connection.
[[nodiscard]] std::optional<Verdict> forward_answer(DirectorState& state,
                                                    PacketContext& context) noexcept;

/// Handles a packet that only passes by and answers no connection. It may open one from the
/// server's side (persistence by Call-ID); a masqueraded server may be told that nobody listens
/// (nat_icmp_send); else the packet is the host's.
[[nodiscard]] Verdict forward_unsolicited(DirectorState& state, PacketContext& context) noexcept;

}  // namespace lb::engine
