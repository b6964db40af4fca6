// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_backup.hpp"

#include "engine/director_state.hpp"
#include "engine/sip.hpp"
#include "engine/sync/sync_message.hpp"

namespace lb::engine {
namespace {

using model::ForwardingMethod;

// Of what version 0 does not tell the timeout of: templates, and protocols without states.
constexpr std::uint32_t kUnknownTimeout = 3 * 60;

bool is_template(const SyncEntry& entry) { return (entry.flags & kSyncTemplate) != 0; }

ForwardingMethod method_of(const SyncEntry& entry) {
  return static_cast<ForwardingMethod>(entry.flags & kSyncMethodMask);
}

// How many states a connection of this protocol may be in; 0: not balanced.
std::size_t states_of(net::Protocol protocol) {
  switch (protocol) {
    case net::Protocol::kTcp:
      return kTcpStateCount;
    case net::Protocol::kSctp:
      return kSctpStateCount;
    case net::Protocol::kUdp:
    case net::Protocol::kEsp:
    case net::Protocol::kAh:
      return 1;
    default:
      return 0;
  }
}

bool is_acceptable(const SyncEntry& entry) {
  if (method_of(entry) > ForwardingMethod::kBypass) return false;
  if (!is_template(entry)) return entry.state < states_of(entry.protocol);
  return entry.key_data.empty() || entry.engine_name == kSipEngine;
}

std::uint32_t timeout_of(const ProtocolTimeouts& timeouts, const SyncEntry& entry) {
  if (entry.timeout_s != 0) return entry.timeout_s;
  if (is_template(entry)) return kUnknownTimeout;
  switch (entry.protocol) {
    case net::Protocol::kTcp:
      return timeouts.tcp[entry.state];
    case net::Protocol::kSctp:
      return timeouts.sctp[entry.state];
    case net::Protocol::kUdp:
      return timeouts.udp;
    default:
      return kUnknownTimeout;
  }
}

// The destination that packets of such a connection would be sent to here; null if there is none.
// With a mark and without translation a destination's port means nothing.
Destination* find_destination(DirectorState& state, const SyncEntry& entry) {
  auto* service = state.services.find_for_packet(entry.fwmark, entry.protocol,
                                                 entry.virtual_end.address, entry.virtual_end.port);
  if (service == nullptr) return nullptr;
  const bool any_port = entry.fwmark != 0 && method_of(entry) != ForwardingMethod::kMasquerade;
  const net::Endpoint with_port = entry.real_end;
  const net::Endpoint without_port{entry.real_end.address, net::Port{}};
  if (auto* found = service->find(any_port ? without_port : with_port)) return found;
  return service->find(any_port ? with_port : without_port);
}

std::uint32_t flags_of(const SyncEntry& entry) {
  std::uint32_t flags = kConnectionSynced;
  const auto add = [&](std::uint32_t told, std::uint32_t own) {
    if ((entry.flags & told) != 0) flags |= own;
  };
  add(kSyncOneWay, kConnectionOneWay);
  add(kSyncInactive, kConnectionInactive);
  add(kSyncNoClientPort, kConnectionNoClientPort);
  add(kSyncTemplate, kConnectionTemplate);
  return flags;
}

ConnectionId find(DirectorState& state, const SyncEntry& entry) {
  auto& connections = state.connections;
  if (is_template(entry)) {
    return connections.find_template(entry.protocol, entry.client.address, entry.virtual_end,
                                     entry.key_data);
  }
  return connections.find(entry.protocol, entry.client, entry.virtual_end);
}

ConnectionId open(DirectorState& state, const SyncEntry& entry) {
  auto* destination = find_destination(state, entry);
  auto flags = flags_of(entry);
  const bool may_bind_later = method_of(entry) != ForwardingMethod::kBypass;
  if (destination == nullptr && may_bind_later) flags |= kConnectionUnbound;
  // Templates have no client port; one that had would never be found again.
  const auto client_port = is_template(entry) ? net::Port{} : entry.client.port;
  const auto id =
      state.connections.open({.protocol = entry.protocol,
                              .client = {entry.client.address, client_port},
                              .virtual_end = entry.virtual_end,
                              .real_end = entry.real_end,
                              .destination = destination,
                              .flags = flags,
                              .timeout_s = timeout_of(state.connections.timeouts(), entry),
                              .key_data = is_template(entry) ? entry.key_data : std::string_view{},
                              .unbound_method = method_of(entry)},
                             state.now);
  if (id != 0) {
    state.connections.sync_mark(id).fwmark = entry.fwmark;
    ++state.counters.connections_created;
  }
  return id;
}

// What an entry says of a connection that is there.
void update(DirectorState& state, ConnectionId id, const SyncEntry& entry) {
  auto& connections = state.connections;
  auto& record = connections.at(id);
  auto& mark = connections.sync_mark(id);
  const auto timeout = timeout_of(connections.timeouts(), entry);
  if (record.state != entry.state || timeout > FastPath::kLongestTimeout) {
    connections.withdraw(id, state.now);
  }
  if (is_template(entry)) {
    record.flags &= ~std::uint32_t{kConnectionAssured};
    if (entry.state == 1) record.flags |= kConnectionAssured;
  } else {
    record.state = static_cast<std::uint8_t>(entry.state);
  }
  mark.told_state = record.state;
  record.packets_in = static_cast<std::uint32_t>(state.settings.sync_threshold);
  record.timeout_s = timeout;
  const bool has_shift = entry.answers_shift && (entry.flags & kSyncAnswersShifted) != 0;
  if (has_shift && (record.flags & kConnectionFtp) != 0) {
    connections.ftp_session(id).shift = *entry.answers_shift;
  }
  connections.touch(id, state.now);
}

// True if the connection is known better here than elsewhere: packets of it came after it was told
// of last, if it ever was.
bool is_in_use_here(DirectorState& state, ConnectionId id) {
  const auto& record = state.connections.at(id);
  constexpr std::uint32_t kPublished = kConnectionFastRequest | kConnectionFastReply;
  return (record.flags & kConnectionSynced) == 0 || (record.flags & kPublished) != 0 ||
         record.packets_in != static_cast<std::uint32_t>(state.settings.sync_threshold);
}

void take_over(DirectorState& state, const SyncEntry& entry, SyncOrigin origin) {
  auto& counters = state.sync.counters;
  auto& connections = state.connections;
  auto id = find(state, entry);
  if (id != 0 && origin == SyncOrigin::kTable && is_in_use_here(state, id)) {
    ++counters.entries_stale;
    return;
  }
  const bool is_inactive = (entry.flags & kSyncInactive) != 0;
  if (id != 0 && !is_template(entry) &&
      connections.real_end(connections.at(id)) != entry.real_end) {
    if (is_inactive) {
      ++counters.entries_stale;
      return;
    }
    connections.withdraw(id, state.now);
    connections.expire_now(id, state.now);
    id = 0;
  }
  if (id != 0) {
    if (!is_template(entry)) connections.set_activity(id, !is_inactive);
    bind_late(state, id);
  } else {
    id = open(state, entry);
    if (id == 0) {
      ++counters.entries_without_room;
      return;
    }
  }
  update(state, id, entry);
  ++counters.entries_taken;
}

}  // namespace

void take_sync_message(DirectorState& state, std::span<const std::byte> message,
                       SyncOrigin origin) noexcept {
  using Step = SyncMessageReader::Step;
  auto& sync = state.sync;
  if (!sync.backup) return;
  ++sync.counters.messages_received;
  SyncMessageReader reader(message);
  if (!reader.is_message()) {
    ++sync.counters.messages_rejected;
    return;
  }
  if (sync.backup->sync_id != 0 && sync.backup->sync_id != reader.sync_id()) {
    ++sync.counters.messages_foreign;
    return;
  }
  SyncEntry entry;
  for (auto step = reader.next(entry); step != Step::kEnd; step = reader.next(entry)) {
    if (step == Step::kBroken) {
      ++sync.counters.messages_rejected;
      return;
    }
    if (step == Step::kEntry && is_acceptable(entry)) {
      take_over(state, entry, origin);
    } else {
      ++sync.counters.entries_rejected;
    }
  }
}

void bind_late(DirectorState& state, ConnectionId id) noexcept {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  if ((record.flags & kConnectionUnbound) == 0) return;
  auto* destination = find_destination(state, {.protocol = record.protocol,
                                               .flags = static_cast<std::uint32_t>(record.method),
                                               .client = {},
                                               .virtual_end = connections.virtual_end(record),
                                               .real_end = connections.real_end(record),
                                               .fwmark = connections.sync_mark(id).fwmark,
                                               .answers_shift = {},
                                               .key_data = {},
                                               .engine_name = {}});
  if (destination != nullptr) connections.bind_late(id, *destination, state.now);
}

}  // namespace lb::engine
