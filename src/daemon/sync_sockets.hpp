// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "engine/sync/sync_transport.hpp"
#include "net/address.hpp"

struct event_base;

namespace lb::daemon {

/// The sockets of the synchronisation daemons: UDP to, and from, a multicast group on one
/// interface, as kernel IPVS has them (no loop back, no fragmentation forbidden).
///
/// A message that the socket does not take at once is lost and counted; nothing waits.
class SyncSockets : public engine::SyncTransport {
 public:
  using Receiver = std::function<void(std::span<const std::byte> message)>;

  /// `base` must outlive the sockets. `receive` is called with each datagram for the backup.
  SyncSockets(event_base* base, Receiver receive);
  ~SyncSockets() override;
  SyncSockets(const SyncSockets&) = delete;
  SyncSockets& operator=(const SyncSockets&) = delete;

  [[nodiscard]] Result<void> open(const engine::SyncSockets& sockets) noexcept override;
  void close(model::SyncRole role) noexcept override;
  void send(unsigned port, std::span<const std::byte> message) noexcept override;

  /// Messages that no socket took.
  [[nodiscard]] std::uint64_t send_failures() const noexcept;
  /// Messages for the backup that came from `source`; 64 sources are counted.
  [[nodiscard]] std::uint64_t received_from(const net::IpAddress& source) const noexcept;
  /// The address that messages of the master come from; 0.0.0.0: there is no master.
  [[nodiscard]] net::IpAddress source() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lb::daemon
