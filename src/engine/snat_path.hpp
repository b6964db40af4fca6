// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// A packet from an inside host on connection `id` of SNAT: leaves with the pool's address.
[[nodiscard]] Verdict forward_from_inside(DirectorState& state, PacketContext& context,
                                          ConnectionId id) noexcept;

/// A packet from outside on connection `id` of SNAT: goes to the inside host.
[[nodiscard]] Verdict forward_from_outside(DirectorState& state, PacketContext& context,
                                           ConnectionId id) noexcept;

/// A packet that neither belongs to a connection nor concerns a service: opens a connection of
/// SNAT if a rule wants it. Null: it is none of SNAT's.
[[nodiscard]] std::optional<Verdict> open_snat(DirectorState& state,
                                               PacketContext& context) noexcept;

/// An ICMP message that is no error: an echo of SNAT. Null: it is none.
[[nodiscard]] std::optional<Verdict> forward_snat_echo(DirectorState& state,
                                                       PacketContext& context) noexcept;

/// An ICMP error that quotes a packet of SNAT. Null: it quotes none.
[[nodiscard]] std::optional<Verdict> forward_snat_error(DirectorState& state,
                                                        PacketContext& context,
                                                        const net::Headers& quoted) noexcept;

}  // namespace lb::engine
