// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/connections.hpp"
#include "engine/sync/sync_counters.hpp"
#include "engine/sync/sync_queue.hpp"
#include "engine/sync/sync_transport.hpp"
#include "model/sync_daemon.hpp"

namespace lb::engine {

/// The synchronisation daemons that run: at most one of each role.
struct SyncDaemons {
  std::optional<model::SyncDaemonSpec> master;
  std::optional<model::SyncDaemonSpec> backup;
  unsigned ports = 1;                                  ///< fixed when the first daemon starts
  std::vector<std::unique_ptr<SyncQueue>> queues;      ///< of the master, one a port
  std::unique_ptr<ProlongationListener> prolongation;  ///< of the master
  SyncTransport* transport = nullptr;                  ///< null: no daemon can be started
  SyncCounters counters;
  Timestamp next_look;      ///< for published connections to tell of again
  ConnectionId cursor = 0;  ///< where that look is; 0: it is over

  [[nodiscard]] bool is_running() const noexcept { return master || backup; }
  /// The daemon of `role`; the role must be one of the two.
  [[nodiscard]] std::optional<model::SyncDaemonSpec>& of(model::SyncRole role) noexcept {
    return role == model::SyncRole::kMaster ? master : backup;
  }
};

}  // namespace lb::engine
