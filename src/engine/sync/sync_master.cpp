// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_master.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "engine/director_state.hpp"
#include "engine/sip.hpp"

namespace lb::engine {
namespace {

// A template that was made unfindable is told of with these ports, as it is listed.
constexpr std::uint16_t kDetachedPort = 0xffff;
constexpr std::int64_t kLeastDifferenceMs = 10'000;
constexpr std::int64_t kRepeatsAPeriod = 8;
// What XDP forwards is told again so often. A backup keeps a connection for its timeout: several
// messages may be lost.
constexpr std::int64_t kToldAgainMs = 30'000;
constexpr auto kLookInterval = std::chrono::seconds(1);
constexpr std::uint32_t kRecordsAtOnce = 8192;
constexpr std::uint32_t kToldAtOnce = 1024;
constexpr std::uint32_t kPublished = kConnectionFastRequest | kConnectionFastReply;

std::int64_t to_ms(Timestamp t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.since_start).count();
}

bool is_template(const ConnectionRecord& record) {
  return (record.flags & kConnectionTemplate) != 0;
}

// States in which it is of use to others. Protocols with one state only are always in it.
bool is_worth_telling(const ConnectionRecord& record) {
  if (record.protocol == net::Protocol::kTcp) {
    switch (static_cast<TcpState>(record.state)) {
      case TcpState::kEstablished:
      case TcpState::kFinWait:
      case TcpState::kClose:
      case TcpState::kCloseWait:
      case TcpState::kTimeWait:
        return true;
      default:
        return false;
    }
  }
  if (record.protocol == net::Protocol::kSctp) {
    switch (static_cast<SctpState>(record.state)) {
      case SctpState::kEstablished:
      case SctpState::kShutdownSent:
      case SctpState::kShutdownReceived:
      case SctpState::kShutdownAckSent:
      case SctpState::kClosed:
        return true;
      default:
        return false;
    }
  }
  return true;
}

bool is_established(const ConnectionRecord& record) {
  if (record.protocol == net::Protocol::kTcp) {
    return static_cast<TcpState>(record.state) == TcpState::kEstablished;
  }
  return record.protocol != net::Protocol::kSctp ||
         static_cast<SctpState>(record.state) == SctpState::kEstablished;
}

bool is_held_by_template(const Connections& connections, const ConnectionRecord& record) {
  for (auto id = record.control; id != 0; id = connections.at(id).control) {
    if (is_template(connections.at(id))) return true;
  }
  return false;
}

std::int64_t timeout_ms(const ConnectionRecord& record) {
  return std::int64_t{record.timeout_s} * 1000;
}

// The sieve of time. Counts in `repeats` what is told again though little has changed.
bool passes_time(const Settings& settings, const ConnectionRecord& record, const SyncMark& mark,
                 std::int64_t now_ms, std::uint8_t& repeats) {
  const auto period_ms = std::int64_t{settings.sync_refresh_period} * 1000;
  if (period_ms <= 0) return true;
  const auto timeout = timeout_ms(record);
  const auto least = std::min(period_ms, std::max(timeout / 2, kLeastDifferenceMs));
  if (std::abs(now_ms + timeout - mark.told_expiry_ms) >= least) return true;
  if (mark.repeats >= settings.sync_retries) return false;
  if (now_ms < mark.told_expiry_ms - timeout + period_ms / kRepeatsAPeriod) return false;
  repeats = static_cast<std::uint8_t>(mark.repeats + 1);
  return true;
}

bool passes_packets(const Settings& settings, const ConnectionRecord& record,
                    std::uint32_t packets) {
  const auto threshold = static_cast<std::uint32_t>(settings.sync_threshold);
  if (settings.sync_period > 0) {
    return is_template(record) ||
           packets % static_cast<std::uint32_t>(settings.sync_period) == threshold;
  }
  return settings.sync_refresh_period > 0 || packets == threshold;
}

void note_told(const ConnectionRecord& record, SyncMark& mark, std::int64_t now_ms,
               std::uint8_t repeats) {
  mark.told_state = record.state;
  mark.told_expiry_ms = now_ms + timeout_ms(record);
  mark.repeats = repeats;
}

// Whether it is to be told now; if so, notes that it was.
bool is_due(DirectorState& state, ConnectionId id, std::uint32_t packets) {
  if (!may_be_told(state, id)) return false;
  const auto& record = state.connections.at(id);
  auto& mark = state.connections.sync_mark(id);
  const auto now_ms = to_ms(state.now);
  std::uint8_t repeats = 0;
  const bool is_at_once =
      !is_template(record) && record.state != mark.told_state && !is_established(record);
  if (!is_at_once && !(passes_time(state.settings, record, mark, now_ms, repeats) &&
                       passes_packets(state.settings, record, packets))) {
    return false;
  }
  note_told(record, mark, now_ms, repeats);
  return true;
}

// As `is_due`, for what XDP forwards, or controls such: by time alone.
bool is_due_again(DirectorState& state, ConnectionId id, std::int64_t seen_ms) {
  if (!may_be_told(state, id)) return false;
  const auto& record = state.connections.at(id);
  auto& mark = state.connections.sync_mark(id);
  const auto now_ms = to_ms(state.now);
  const auto told_ms = mark.told_expiry_ms - timeout_ms(record);
  if (now_ms - told_ms < std::min(kToldAgainMs, timeout_ms(record) / 2)) return false;
  if (seen_ms <= told_ms) return false;
  note_told(record, mark, now_ms, 0);
  return true;
}

std::uint32_t flags_of(const ConnectionRecord& record) {
  auto flags = static_cast<std::uint32_t>(record.method) & kSyncMethodMask;
  const auto add = [&](std::uint32_t own, std::uint32_t told) {
    if ((record.flags & own) != 0) flags |= told;
  };
  add(kConnectionSynced, kSyncSynced);
  add(kConnectionOneWay, kSyncOneWay);
  add(kConnectionInactive, kSyncInactive);
  add(kConnectionNoClientPort, kSyncNoClientPort);
  add(kConnectionTemplate, kSyncTemplate);
  return flags;
}

}  // namespace

bool may_be_told(const DirectorState& state, ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  // Of source NAT the messages know nothing.
  if ((record.flags & (kConnectionOnePacket | kConnectionSnat)) != 0) return false;
  if (is_template(record)) return true;
  if (state.settings.sync_persist_mode != 0 && is_held_by_template(state.connections, record)) {
    return false;
  }
  return is_worth_telling(record);
}

SyncEntry sync_entry_of(DirectorState& state, ConnectionId id) noexcept {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  const auto* destination = connections.destination(record);
  SyncEntry entry{.protocol = record.protocol,
                  .flags = flags_of(record),
                  .state = record.state,
                  .client = connections.client_end(record),
                  .virtual_end = connections.virtual_end(record),
                  .real_end = connections.real_end(record),
                  .fwmark = destination != nullptr ? destination->service_key.fwmark
                                                   : connections.sync_mark(id).fwmark,
                  .timeout_s = record.timeout_s,
                  .answers_shift = {},
                  .key_data = connections.key_data(id),
                  .engine_name = {}};
  if (is_template(record)) entry.state = (record.flags & kConnectionAssured) != 0 ? 1 : 0;
  if (!entry.key_data.empty()) entry.engine_name = kSipEngine;
  if ((record.flags & kConnectionDetached) != 0) {
    entry.virtual_end.port = entry.real_end.port = net::Port::from_host(kDetachedPort);
  }
  if ((record.flags & kConnectionFtp) != 0 && !connections.ftp_session(id).shift.is_idle()) {
    entry.answers_shift = connections.ftp_session(id).shift;
    entry.flags |= kSyncAnswersShifted;
  }
  return entry;
}

namespace {

void send_due(DirectorState& state, unsigned port) {
  auto& sync = state.sync;
  while (const auto message = sync.queues[port]->take_due(state.now)) {
    sync.transport->send(port, *message);
    ++sync.counters.messages_sent;
  }
}

void tell(DirectorState& state, ConnectionId id, int version) {
  auto& sync = state.sync;
  const auto port = id & (sync.ports - 1);
  const auto limit = static_cast<std::size_t>(std::max(state.settings.sync_qlen_max, 0));
  if (sync.queues[port]->append(sync_entry_of(state, id), version, limit, state.now)) {
    ++sync.counters.messages_lost;
  }
  send_due(state, port);
}

// Tells of a published connection, and of what controls it, if it was in use since it was told.
// True if something was told.
bool tell_again(DirectorState& state, ConnectionId id) {
  const int version = state.settings.sync_version == 0 ? 0 : 1;
  auto& connections = state.connections;
  connections.refresh_expiry(id, state.now);
  const auto seen_ms = connections.at(id).expires_ms - timeout_ms(connections.at(id));
  bool is_told = false;
  for (; id != 0; id = connections.at(id).control) {
    if (version == 0 && connections.at(id).family != net::Family::kIpv4) break;
    if (!is_due_again(state, id, seen_ms)) continue;
    tell(state, id, version);
    is_told = true;
  }
  return is_told;
}

}  // namespace

void tell_of_published(DirectorState& state) noexcept {
  auto& sync = state.sync;
  if (!sync.master || !state.fast_path) return;
  if (sync.cursor == 0) {
    if (state.now < sync.next_look) return;
    sync.next_look = state.now + kLookInterval;
    sync.cursor = 1;
  }
  const auto& table = state.connections.table();
  const auto end = std::min(table.end(), sync.cursor + kRecordsAtOnce);
  for (std::uint32_t told = 0; sync.cursor < end && told < kToldAtOnce; ++sync.cursor) {
    if (!table.contains(sync.cursor)) continue;
    if ((table.at(sync.cursor).flags & kPublished) == 0) continue;
    if (tell_again(state, sync.cursor)) ++told;
  }
  if (sync.cursor >= table.end()) sync.cursor = 0;
}

void sync_connection(DirectorState& state, ConnectionId id, std::uint32_t packets) noexcept {
  const auto threshold = static_cast<std::uint32_t>(state.settings.sync_threshold);
  const int version = state.settings.sync_version == 0 ? 0 : 1;
  while (id != 0) {
    const auto& record = state.connections.at(id);
    if ((version != 0 || record.family == net::Family::kIpv4) && is_due(state, id, packets)) {
      tell(state, id, version);
    } else if (version == 0) {
      return;  // with the old version what is not told does not tell of its template either
    }
    id = record.control;
    if (id == 0) return;
    auto& control = state.connections.at(id);
    packets = is_template(control) ? ++control.packets_in : threshold;
  }
}

void send_sync_messages(DirectorState& state) noexcept {
  for (unsigned port = 0; port < state.sync.queues.size(); ++port) send_due(state, port);
}

}  // namespace lb::engine
