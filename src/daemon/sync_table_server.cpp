// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_table_server.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace lb::daemon {

SyncTableServer::SyncTableServer(std::uint64_t instance, const TableKey& key, TableSource& source,
                                 TableSender send, TableNonceMaker make_nonce)
    : instance_(instance),
      key_(key),
      source_(source),
      send_(std::move(send)),
      make_nonce_(std::move(make_nonce)) {}

bool SyncTableServer::receive(const TableMessage& message) {
  if (message.instance == instance_) return false;
  switch (message.type) {
    case TableMessageType::kHello:
      return greet(message);
    case TableMessageType::kAsk:
      return answer(message);
    default:
      return false;
  }
}

bool SyncTableServer::greet(const TableMessage& hello) {
  if (!hello.payload.empty()) return false;
  // One that was lost on its way back is said again.
  if (!offered_.is_open || offered_.client != hello.client) {
    offered_ = {.is_open = true, .client = hello.client, .server = make_nonce_(), .last = 0};
  }
  send_(write_table_message({.type = TableMessageType::kWelcome,
                             .instance = instance_,
                             .client = offered_.client,
                             .server = offered_.server,
                             .payload = {}},
                            key_));
  return true;
}

bool SyncTableServer::answer(const TableMessage& question) {
  const auto is_of = [&](const Conversation& conversation) {
    return conversation.is_open && conversation.client == question.client &&
           conversation.server == question.server;
  };
  if (!question.payload.empty()) return false;
  if (is_of(offered_)) current_ = std::exchange(offered_, {});
  if (!is_of(current_) || question.number <= current_.last) return false;
  current_.last = question.number;
  TableMessage answer{.type = TableMessageType::kState,
                      .instance = instance_,
                      .client = current_.client,
                      .server = current_.server,
                      .number = question.number,
                      .first = question.first,
                      .payload = {}};
  if (question.second != 0) {
    send_parts(answer, std::min(question.second, kMostParts));
    return true;
  }
  const auto state = write_table_state(source_.state());
  answer.payload = state;
  send_(write_table_message(answer, key_));
  return true;
}

void SyncTableServer::send_parts(TableMessage answer, std::uint32_t wanted) {
  if (!source_.state().is_master) return;
  std::array<std::byte, kTablePayload> room;
  answer.type = TableMessageType::kPart;
  for (; wanted != 0; --wanted) {
    const auto part = source_.part(answer.first, room);
    answer.second = part.next;
    answer.payload = std::span(room).first(part.size);
    send_(write_table_message(answer, key_));
    ++parts_sent_;
    if (part.next == 0) return;
    answer.first = part.next;
  }
}

}  // namespace lb::daemon
