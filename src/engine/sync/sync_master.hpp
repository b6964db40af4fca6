// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/connection_table.hpp"
#include "engine/sync/sync_message.hpp"

namespace lb::engine {

struct DirectorState;

/// Tells the other directors of a connection, and of what controls it, where it is time to.
/// `packets`: how many it had from its client. Only to be called while there is a master daemon.
///
/// The kernel's rules. Not told: one-packet connections, TCP and SCTP before they are established,
/// with `sync_persist_mode` what a template controls. A change to another state than established
/// is told at once. All else must pass two sieves: of time, with `sync_refresh_period` (its
/// expiry differs enough from the one told last), and of packets (their number modulo
/// `sync_period` is `sync_threshold`; templates pass).
void sync_connection(DirectorState& state, ConnectionId id, std::uint32_t packets) noexcept;

/// Tells again of connections whose packets XDP forwards: the engine does not see these, and so
/// neither counts nor times them. Every 30 s (half the timeout if that is shorter) while packets
/// come, whatever the settings say of thresholds. To be called as time passes; a bounded number of
/// records a call.
void tell_of_published(DirectorState& state) noexcept;

/// False for connections that others need not know of, as above.
[[nodiscard]] bool may_be_told(const DirectorState& state, ConnectionId id) noexcept;
/// What a message says of a connection. Its texts live as long as the connection.
[[nodiscard]] SyncEntry sync_entry_of(DirectorState& state, ConnectionId id) noexcept;

/// Sends the messages that are due.
void send_sync_messages(DirectorState& state) noexcept;

}  // namespace lb::engine
