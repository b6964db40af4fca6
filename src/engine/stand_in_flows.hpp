// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

/// Flows that XDP sent on by itself become connections (flow/stand_in.hpp).
namespace lb::engine {

/// Makes connections of what XDP noted, looking at up to `budget` places; true if there is more.
bool adopt_notes(DirectorState& state, std::size_t budget) noexcept;

/// The connection of a packet that belongs to none, if XDP sent its flow on before: one that it
/// noted, or one that goes on (`is_first` false) where nothing was noted. 0: there is none.
[[nodiscard]] ConnectionId continue_flow(DirectorState& state, const Flow& flow,
                                         bool is_first) noexcept;

/// The destination that XDP chooses for a new flow while it decides about some of them: packets of
/// one flow may meet either. Null: it does not decide now.
[[nodiscard]] Destination* choose_as_stand_in(DirectorState& state, Service& service,
                                              const Flow& flow) noexcept;

/// Sends the answer of a masqueraded server to a flow that XDP sent on and that is no connection
/// (yet); nothing if it is not one.
[[nodiscard]] std::optional<Verdict> answer_as_stand_in(DirectorState& state,
                                                        PacketContext& context) noexcept;

}  // namespace lb::engine
