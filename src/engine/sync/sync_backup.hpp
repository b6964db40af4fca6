// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "engine/connection_table.hpp"
#include "engine/sync/sync_table.hpp"

namespace lb::engine {

struct DirectorState;

/// Takes over the connections of a message from another director. Total on any bytes; nothing
/// happens without a backup daemon. A sender is not proved to be one: whoever can reach the port
/// can make connections, as with the kernel.
void take_sync_message(DirectorState& state, std::span<const std::byte> message,
                       SyncOrigin origin = SyncOrigin::kGroup) noexcept;

/// Binds a connection that was taken over to its destination, if that has been added since.
void bind_late(DirectorState& state, ConnectionId id) noexcept;

}  // namespace lb::engine
