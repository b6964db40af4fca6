// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/sync_daemon.hpp"
#include "net/result.hpp"

namespace lb::engine {

/// What the sockets of a synchronisation daemon are to be.
struct SyncSockets {
  model::SyncDaemonSpec daemon;
  unsigned ports = 1;            ///< UDP ports from `daemon.port` on
  std::int32_t buffer_size = 0;  ///< of each socket, bytes; 0: as the system has it
};

/// Carries sync messages between directors: sockets in the daemon, a list in tests. What a backup's
/// sockets receive goes to `Director::receive_sync`.
class SyncTransport {
 public:
  virtual ~SyncTransport() = default;
  /// Gets ready to send (master) or to receive (backup). An error is what starting the daemon fails
  /// with; nothing stays open then.
  [[nodiscard]] virtual Result<void> open(const SyncSockets& sockets) noexcept = 0;
  virtual void close(model::SyncRole role) noexcept = 0;
  /// Sends a message of the master as one datagram to port number `port` (from 0). One that
  /// cannot be sent is lost; connections are told of again.
  virtual void send(unsigned port, std::span<const std::byte> message) noexcept = 0;
};

}  // namespace lb::engine
