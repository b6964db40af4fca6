// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/connection_table.hpp"
#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"
#include "engine/snat_flow.hpp"

namespace lb::engine {

/// What came of the try to open a connection of SNAT: the connection, or what becomes of the
/// packet.
struct SnatOpened {
  ConnectionId connection = 0;
  Verdict verdict{};  ///< valid if there is no connection
};

/// Opens a connection for a packet from inside that `entry` wants.
///
/// A refused client is told host unreachable (RFC 6888, REQ-8), counted and remembered; the
/// connections that are there stay.
[[nodiscard]] SnatOpened open_from_inside(DirectorState& state, PacketContext& context,
                                          SnatEntry& entry, const SnatFlow& flow) noexcept;

/// Opens a connection for a packet from outside to an address of the static mapping `entry`.
[[nodiscard]] SnatOpened open_from_outside(DirectorState& state, PacketContext& context,
                                           SnatEntry& entry, const SnatFlow& flow) noexcept;

}  // namespace lb::engine
