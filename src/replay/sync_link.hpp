// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/network_view.hpp"
#include "engine/sync/sync_transport.hpp"
#include "replay/case_file.hpp"
#include "replay/compare.hpp"
#include "replay/lab.hpp"

namespace lb::replay {

/// The multicast group between directors: makes frames of the messages that the engine sends,
/// and takes messages out of frames that come in.
class SyncLink : public engine::SyncTransport {
 public:
  SyncLink(const engine::NetworkView& network, const Timestamp& now)
      : network_(network), now_(now) {}

  [[nodiscard]] Result<void> open(const engine::SyncSockets& sockets) noexcept override;
  void close(model::SyncRole role) noexcept override;
  void send(unsigned port, std::span<const std::byte> message) noexcept override;

  struct Sent {
    Timestamp time;
    SentFrame frame;
  };
  /// What was sent since the last call.
  [[nodiscard]] std::vector<Sent> take() { return std::exchange(sent_, {}); }
  /// True for a frame as the master that ran last sends them.
  [[nodiscard]] bool is_sync_frame(const Bytes& frame) const;
  /// The message in a frame that the backup listens to; null if it is none.
  [[nodiscard]] std::optional<Bytes> message_of(const std::string& port, const Bytes& frame) const;

 private:
  const engine::NetworkView& network_;
  const Timestamp& now_;
  std::optional<engine::SyncSockets> master_;  // kept when it is closed
  std::optional<engine::SyncSockets> backup_;
  std::vector<Sent> sent_;
};

/// Compares sync messages with the recorded ones: the same ones in the same order. The times are
/// those of a thread in the kernel that looks once a second, so a message may come up to that much
/// earlier here.
class SyncComparison {
 public:
  void expect(std::size_t line, Timestamp time, const ExpectedFrame& frame);
  void add(std::vector<SyncLink::Sent> sent);
  struct Finding {
    std::size_t line = 0;  // 0: no step is known
    Mismatch mismatch;
  };
  /// What does not fit, as known at `now`. `is_end`: nothing will follow.
  [[nodiscard]] std::optional<Finding> check(Timestamp now, bool is_end);

 private:
  struct Expected {
    std::size_t line = 0;
    Timestamp time;
    ExpectedFrame frame;
  };
  std::deque<Expected> expected_;
  std::deque<SyncLink::Sent> sent_;
};

}  // namespace lb::replay
