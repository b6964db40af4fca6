// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_table_client.hpp"

#include <utility>

namespace lb::daemon {
namespace {

// Two seconds of silence.
constexpr unsigned kMostUnanswered = 8;

}  // namespace

SyncTableClient::SyncTableClient(std::uint64_t instance, const TableKey& key, TableSink& sink,
                                 TableSender send, TableNonceMaker make_nonce)
    : instance_(instance),
      key_(key),
      sink_(sink),
      send_(std::move(send)),
      make_nonce_(std::move(make_nonce)) {}

Duration SyncTableClient::lag(Timestamp now) const {
  if (!is_heard_ || !is_master_ || (has_table_ && !is_behind_)) return Duration{0};
  return now - complete_;
}

void SyncTableClient::greet(Timestamp now) {
  said_ = now;
  send_(write_table_message(
      {.type = TableMessageType::kHello, .instance = instance_, .client = client_, .payload = {}},
      key_));
}

// `parts`: 0 asks for the state.
void SyncTableClient::ask(std::uint32_t parts, Timestamp now) {
  said_ = now;
  is_answered_ = false;
  parts_left_ = parts;
  send_(write_table_message({.type = TableMessageType::kAsk,
                             .instance = instance_,
                             .client = client_,
                             .server = server_,
                             .number = ++number_,
                             .first = cursor_,
                             .second = parts,
                             .payload = {}},
                            key_));
}

void SyncTableClient::begin_table(Timestamp now) {
  phase_ = Phase::kTaking;
  has_table_ = false;
  table_asked_ = now;
  cursor_ = 0;
  ask(SyncTableServer::kMostParts, now);
}

void SyncTableClient::tick(Timestamp now) {
  if (!sink_.is_backup()) {
    phase_ = Phase::kOff;
    is_heard_ = is_master_ = has_table_ = is_behind_ = false;
    return;
  }
  if (phase_ == Phase::kOff) {
    phase_ = Phase::kGreeting;
    client_ = make_nonce_();
    complete_ = now;
    return greet(now);
  }
  if (phase_ == Phase::kGreeting) {
    if (now - said_ >= kWatchInterval) greet(now);
    return;
  }
  const bool is_idle = phase_ == Phase::kWatching && is_answered_;
  if (now - said_ < (is_idle ? kWatchInterval : kPatience)) return;
  if (!is_answered_ && ++unanswered_ >= kMostUnanswered) {
    // Gone, or another that knows nothing of this conversation.
    phase_ = Phase::kGreeting;
    client_ = make_nonce_();
    is_heard_ = has_table_ = false;
    return greet(now);
  }
  ask(phase_ == Phase::kTaking ? SyncTableServer::kMostParts : 0, now);
}

bool SyncTableClient::receive(const TableMessage& message, Timestamp now) {
  if (message.instance == instance_ || phase_ == Phase::kOff || message.client != client_) {
    return false;
  }
  if (message.type == TableMessageType::kWelcome) {
    if (phase_ != Phase::kGreeting) return false;
    server_ = message.server;
    number_ = 0;
    unanswered_ = 0;
    phase_ = Phase::kWatching;
    ask(0, now);
    return true;
  }
  if (message.server != server_ || message.number != number_ || is_answered_) return false;
  if (message.type == TableMessageType::kPart) return take_part(message, now);
  return message.type == TableMessageType::kState && take_state(message, now);
}

bool SyncTableClient::take_part(const TableMessage& part, Timestamp now) {
  // Parts that were reordered or lost are asked for again when patience is over.
  if (phase_ != Phase::kTaking || parts_left_ == 0 || part.first != cursor_) return false;
  if (part.second != 0 && part.second <= cursor_) return false;
  unanswered_ = 0;
  said_ = now;
  if (!part.payload.empty()) sink_.take(part.payload);
  cursor_ = part.second;
  if (cursor_ == 0) {
    is_answered_ = true;
    has_table_ = true;
    phase_ = Phase::kWatching;
    ++tables_;
    complete_ = now;
    ask(0, now);
  } else if (--parts_left_ == 0) {
    ask(SyncTableServer::kMostParts, now);
  }
  return true;
}

bool SyncTableClient::take_state(const TableMessage& answer, Timestamp now) {
  const auto state = read_table_state(answer.payload);
  if (!state || phase_ != Phase::kWatching) return false;
  is_answered_ = true;
  is_heard_ = true;
  unanswered_ = 0;
  const bool was_master = std::exchange(is_master_, state->is_master);
  if (!is_master_) {
    has_table_ = is_behind_ = false;
    return true;
  }
  if (!was_master || !has_table_) {
    if (!was_master) complete_ = now;
    is_behind_ = false;
    sent_base_ = state->messages_sent;
    received_base_ = sink_.received_from(state->source);
    sent_before_ = 0;
    begin_table(now);
  } else {
    compare(*state, now);
  }
  return true;
}

/// What was sent before the last answer but one must have come by now: the group's messages may be
/// behind the answers, but not for so long.
void SyncTableClient::compare(const TableState& state, Timestamp now) {
  if (state.messages_sent < sent_base_ + sent_before_) {
    // Another process: it has told nothing that was missed, but its table is not this one.
    has_table_ = false;
    return;
  }
  const auto sent = state.messages_sent - sent_base_;
  const auto received = sink_.received_from(state.source) - received_base_;
  const auto lost = sent_before_ > received ? sent_before_ - received : 0;
  sent_before_ = sent;
  if (lost == 0) {
    is_behind_ = false;
    complete_ = now;
    return;
  }
  is_behind_ = true;
  if (now - table_asked_ < kTableInterval) return;
  missed_ += lost;
  sent_base_ += lost;
  sent_before_ -= lost;
  begin_table(now);
}

}  // namespace lb::daemon
