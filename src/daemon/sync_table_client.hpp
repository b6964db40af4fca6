// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "daemon/sync_table_message.hpp"
#include "daemon/sync_table_server.hpp"
#include "net/time.hpp"

namespace lb::daemon {

/// What a backup lends to those that ask for it.
class TableSink {
 public:
  virtual ~TableSink() = default;
  [[nodiscard]] virtual bool is_backup() = 0;
  /// A sync message.
  virtual void take(std::span<const std::byte> message) = 0;
  /// Sync messages that came to the group from this address.
  [[nodiscard]] virtual std::uint64_t received_from(const net::IpAddress& source) = 0;
};

/// The backup's side of the table protocol, for one peer.
///
/// Greets, asks what the peer is, and if it is a master asks for its table, 32 parts at a time;
/// then asks every second how many sync messages it has sent. If some did not come here, it asks
/// for the table again. A peer that does not answer is greeted every second.
class SyncTableClient {
 public:
  static constexpr Duration kPatience = std::chrono::milliseconds(250);
  static constexpr Duration kWatchInterval = std::chrono::seconds(1);
  /// A table is not asked for again earlier than this after the last time.
  static constexpr Duration kTableInterval = std::chrono::seconds(10);

  /// All that is referred to must outlive this.
  SyncTableClient(std::uint64_t instance, const TableKey& key, TableSink& sink, TableSender send,
                  TableNonceMaker make_nonce);

  /// To be called as time passes, ten times a second or more.
  void tick(Timestamp now);
  /// As SyncTableServer::receive.
  [[nodiscard]] bool receive(const TableMessage& message, Timestamp now);

  /// The peer answers.
  [[nodiscard]] bool is_heard() const { return is_heard_; }
  /// For how long something that the peer's master told has been missing here; 0: nothing is, or
  /// the peer is no master, or it does not answer.
  [[nodiscard]] Duration lag(Timestamp now) const;
  /// Sync messages that were sent and did not come, before the table was asked for again.
  [[nodiscard]] std::uint64_t missed() const { return missed_; }
  /// Tables that came whole.
  [[nodiscard]] std::uint64_t tables() const { return tables_; }

 private:
  enum class Phase : std::uint8_t { kOff, kGreeting, kTaking, kWatching };

  void greet(Timestamp now);
  void ask(std::uint32_t parts, Timestamp now);
  void begin_table(Timestamp now);
  [[nodiscard]] bool take_part(const TableMessage& part, Timestamp now);
  [[nodiscard]] bool take_state(const TableMessage& answer, Timestamp now);
  void compare(const TableState& state, Timestamp now);

  std::uint64_t instance_;
  const TableKey& key_;
  TableSink& sink_;
  TableSender send_;
  TableNonceMaker make_nonce_;

  Phase phase_ = Phase::kOff;
  TableNonce client_{};
  TableNonce server_{};
  std::uint64_t number_ = 0;  // of the last question
  bool is_answered_ = false;  // the last question, in full
  unsigned unanswered_ = 0;   // questions in a row
  Timestamp said_{};          // when something was sent last
  std::uint32_t cursor_ = 0;
  std::uint32_t parts_left_ = 0;  // of those asked for

  bool is_heard_ = false;
  bool is_master_ = false;  // the peer
  bool has_table_ = false;
  bool is_behind_ = false;
  Timestamp complete_{};  // when nothing was missing last
  Timestamp table_asked_{};
  std::uint64_t sent_base_ = 0;  // of the peer, and what came here by then
  std::uint64_t received_base_ = 0;
  std::uint64_t sent_before_ = 0;  // as of the answer before, since the base
  std::uint64_t missed_ = 0;
  std::uint64_t tables_ = 0;
};

}  // namespace lb::daemon
