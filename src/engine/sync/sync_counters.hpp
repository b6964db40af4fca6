// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace lb::engine {

/// What the synchronisation daemons did.
struct SyncCounters {
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_lost = 0;  ///< of our own: more than `sync_qlen_max` waited
  std::uint64_t messages_received = 0;
  std::uint64_t messages_foreign = 0;   ///< received, of another sync id
  std::uint64_t messages_rejected = 0;  ///< received, broken: what follows the break is lost
  std::uint64_t entries_taken = 0;      ///< connections made or brought up to date
  std::uint64_t entries_stale =
      0;  ///< told of the end of what was replaced here, or less than is known
  std::uint64_t entries_rejected = 0;  ///< of an unknown protocol, state, method or engine
  std::uint64_t entries_without_room = 0;
};

}  // namespace lb::engine
