// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/sync_peers_options.hpp"
#include "daemon/sync_sockets.hpp"
#include "daemon/sync_table_message.hpp"
#include "engine/director.hpp"
#include "net/address.hpp"
#include "net/time.hpp"
#include "wire/sluice_messages.hpp"

struct event_base;

namespace lb::daemon {

/// Reads the key that directors share: at least 16 bytes, white space at the end left out, in a
/// file that nobody but its owner may read or write. The error is a sentence for an operator.
[[nodiscard]] tl::expected<TableKey, std::string> read_table_key(const std::string& path);

/// The sockets and clocks of the table protocol (sync_table_message.hpp), and one conversation each
/// way with each peer. Datagrams from others are counted and left.
class SyncPeers {
 public:
  /// What the peers need of the daemon. All of it must outlive them.
  struct Daemon {
    event_base* base = nullptr;
    engine::Director& director;
    const SyncSockets& group;
    std::function<Timestamp()> now;
    SyncSockets::Receiver take;  ///< a sync message of a table
  };

  [[nodiscard]] static tl::expected<std::unique_ptr<SyncPeers>, std::string> create(
      const SyncPeersOptions& options, Daemon daemon);
  ~SyncPeers();
  SyncPeers(const SyncPeers&) = delete;
  SyncPeers& operator=(const SyncPeers&) = delete;

  /// For `sluice status`.
  [[nodiscard]] std::vector<wire::NamedCounter> counters() const;

 private:
  struct State;
  explicit SyncPeers(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lb::daemon
