// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "daemon/sync_table_message.hpp"
#include "engine/sync/sync_table.hpp"

namespace lb::daemon {

/// What a master lends to those that answer for it.
class TableSource {
 public:
  virtual ~TableSource() = default;
  [[nodiscard]] virtual TableState state() = 0;
  [[nodiscard]] virtual engine::SyncTablePart part(std::uint32_t cursor,
                                                   std::span<std::byte> room) = 0;
};

using TableSender = std::function<void(std::span<const std::byte> datagram)>;
using TableNonceMaker = std::function<TableNonce()>;

/// The master's side of the table protocol, for one peer. Keeps two conversations, of fixed size.
class SyncTableServer {
 public:
  /// What one question makes is no more.
  static constexpr std::uint32_t kMostParts = 32;

  /// All that is referred to must outlive this.
  SyncTableServer(std::uint64_t instance, const TableKey& key, TableSource& source,
                  TableSender send, TableNonceMaker make_nonce);

  /// A message from the peer, proved to be of a director. False: it is stale or out of place, and
  /// nothing was done.
  [[nodiscard]] bool receive(const TableMessage& message);
  [[nodiscard]] std::uint64_t parts_sent() const { return parts_sent_; }

 private:
  struct Conversation {
    bool is_open = false;
    TableNonce client{};
    TableNonce server{};
    std::uint64_t last = 0;  // number of the last question
  };
  [[nodiscard]] bool greet(const TableMessage& hello);
  [[nodiscard]] bool answer(const TableMessage& question);
  void send_parts(TableMessage answer, std::uint32_t wanted);

  std::uint64_t instance_;
  const TableKey& key_;
  TableSource& source_;
  TableSender send_;
  TableNonceMaker make_nonce_;
  // A hello that somebody sends again must not end the conversation that goes on: the new one
  // becomes that with its first question, which only the peer can ask.
  Conversation current_;
  Conversation offered_;
  std::uint64_t parts_sent_ = 0;
};

}  // namespace lb::daemon
