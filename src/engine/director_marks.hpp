// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Gives a packet without a mark the one that the rules have for it, and returns its mark.
/// Without mark services nobody asks for marks, and no rule is looked at.
std::uint32_t mark(DirectorState& state, PacketContext& context) noexcept;

/// Steers the addresses that mark rules concern, if there are mark services. To be called when
/// rules, services or own addresses may have changed; does nothing if none of them has.
void update_mark_steering(DirectorState& state);

}  // namespace lb::engine
