// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Handles a packet that is for the director itself: sends it to the real server of its connection,
/// opening one if the packet may and a service wants it; else it is the host's.
[[nodiscard]] Verdict forward_request(DirectorState& state, PacketContext& context) noexcept;

}  // namespace lb::engine
