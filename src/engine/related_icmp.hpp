// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Handles an ICMP error by the packet that it quotes: if that belongs to a connection, the error
/// goes to the one whose packet it was, translated as the connection is. Nothing if the error
/// concerns no connection: then it is the host's.
[[nodiscard]] std::optional<Verdict> forward_icmp_error(DirectorState& state,
                                                        PacketContext& context) noexcept;

}  // namespace lb::engine
