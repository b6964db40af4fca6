// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// What came of the try to open a connection: the connection, or what becomes of the packet.
struct Scheduled {
  ConnectionId connection = 0;
  Verdict verdict{};  ///< valid if there is no connection
};

/// Opens a connection for a packet that belongs to none, if it may open one and a service wants
/// it. `flow` is the packet's, or, with `is_icmp`, that of the answer which an ICMP error quotes.
[[nodiscard]] Scheduled schedule(DirectorState& state, PacketContext& context, const Flow& flow,
                                 bool is_icmp) noexcept;

/// True for the packets that begin a connection: TCP with SYN, SCTP INIT.
[[nodiscard]] bool begins_connection(const PacketContext& context) noexcept;

/// True if a packet that begins a connection must not continue `id`: its destination is
/// quiescent (expire_nodest_conn), or it has closed and the client uses its port again.
[[nodiscard]] bool is_to_be_replaced(DirectorState& state, ConnectionId id) noexcept;

}  // namespace lb::engine
