// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lb::engine {

struct DirectorState;

/// How a message came.
enum class SyncOrigin : std::uint8_t {
  kGroup,  ///< told as something happened
  kTable,  ///< asked for: what it says may be old
};

/// A message about some of the connections that a director has.
struct SyncTablePart {
  std::size_t size = 0;    ///< of the message; 0: no connection was found
  std::uint32_t next = 0;  ///< cursor of the next part; 0: this was the last
};

/// No smaller room will do: any entry fits, alone.
inline constexpr std::size_t kLeastSyncTableRoom = 512;

/// Writes what the master daemon's messages would say of the connections from record `cursor` on.
/// Nothing without a master daemon. See Director::write_sync_table.
[[nodiscard]] SyncTablePart write_sync_table(DirectorState& state, std::uint32_t cursor,
                                             std::span<std::byte> room) noexcept;

}  // namespace lb::engine
