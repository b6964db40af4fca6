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

// The sieve of time. Counts in `repeats` what is told again though little has changed.
bool passes_time(const Settings& settings, const ConnectionRecord& record, const SyncMark& mark,
                 std::int64_t now_ms, std::uint8_t& repeats) {
  const auto period_ms = std::int64_t{settings.sync_refresh_period} * 1000;
  if (period_ms <= 0) return true;
  const auto timeout_ms = std::int64_t{record.timeout_s} * 1000;
  const auto least = std::min(period_ms, std::max(timeout_ms / 2, kLeastDifferenceMs));
  if (std::abs(now_ms + timeout_ms - mark.told_expiry_ms) >= least) return true;
  if (mark.repeats >= settings.sync_retries) return false;
  if (now_ms < mark.told_expiry_ms - timeout_ms + period_ms / kRepeatsAPeriod) return false;
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

// Whether it is to be told now; if so, notes that it was.
bool is_due(DirectorState& state, ConnectionId id, std::uint32_t packets) {
  const auto& record = state.connections.at(id);
  auto& mark = state.connections.sync_mark(id);
  const auto now_ms = to_ms(state.now);
  std::uint8_t repeats = 0;
  bool is_at_once = false;
  if (!is_template(record)) {
    if (state.settings.sync_persist_mode != 0 && is_held_by_template(state.connections, record)) {
      return false;
    }
    if (!is_worth_telling(record)) return false;
    is_at_once = record.state != mark.told_state && !is_established(record);
  }
  if (!is_at_once && !(passes_time(state.settings, record, mark, now_ms, repeats) &&
                       passes_packets(state.settings, record, packets))) {
    return false;
  }
  mark.told_state = record.state;
  mark.told_expiry_ms = now_ms + std::int64_t{record.timeout_s} * 1000;
  mark.repeats = repeats;
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

SyncEntry describe(DirectorState& state, ConnectionId id) {
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
  if (sync.queues[port]->append(describe(state, id), version, limit, state.now)) {
    ++sync.counters.messages_lost;
  }
  send_due(state, port);
}

}  // namespace

void sync_connection(DirectorState& state, ConnectionId id, std::uint32_t packets) noexcept {
  const auto threshold = static_cast<std::uint32_t>(state.settings.sync_threshold);
  const int version = state.settings.sync_version == 0 ? 0 : 1;
  while (id != 0) {
    const auto& record = state.connections.at(id);
    const bool is_one_packet = (record.flags & kConnectionOnePacket) != 0;
    if (!is_one_packet && (version != 0 || record.family == net::Family::kIpv4) &&
        is_due(state, id, packets)) {
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
