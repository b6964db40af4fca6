// SPDX-License-Identifier: Apache-2.0
#include "engine/requests.hpp"

#include <optional>

#include "engine/accounting.hpp"
#include "engine/director_marks.hpp"
#include "engine/forward/ttl.hpp"
#include "engine/ftp.hpp"
#include "engine/removal.hpp"
#include "engine/schedule.hpp"
#include "engine/snat_path.hpp"
#include "engine/sync/sync_backup.hpp"
#include "engine/sync/sync_master.hpp"
#include "engine/tracking.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

// As the receiving host does before it looks at anything else (RFC 791, 3.1).
void record_options(PacketContext& context) {
  constexpr std::size_t kPlainHeader = 20;
  const auto& headers = context.headers;
  if (headers.family() == net::Family::kIpv4 &&
      headers.transport_offset > headers.ip_offset + kPlainHeader) {
    record_ipv4_options(context.packet.bytes(), headers, headers.destination);
  }
}

// A connection whose destination is gone and that is not to wait for it.
bool is_given_up(DirectorState& state, ConnectionId id) {
  const auto* destination = state.connections.destination(state.connections.at(id));
  return destination != nullptr && !destination->is_available &&
         state.settings.expire_nodest_conn != 0 && !is_draining(state, *destination);
}

// The connection of a request that goes on; 0 if the request must open one. In `replaced`, one
// that is to go when that is done.
ConnectionId find_connection(DirectorState& state, const PacketContext& context, const Flow& flow,
                             ConnectionId& replaced) {
  auto& connections = state.connections;
  const auto id = connections.find(flow.protocol, flow.client, flow.virtual_end, context.ahead);
  if (id == 0 || (connections.at(id).flags & kConnectionSnat) != 0) return id;
  const bool gives_way = begins_connection(context) && is_to_be_replaced(state, id);
  if (!gives_way && !is_given_up(state, id)) {
    const bool is_unbound = (connections.at(id).flags & kConnectionUnbound) != 0;
    if (is_unbound) bind_late(state, id);
    return id;
  }
  if (!connections.controls_others(id)) {
    connections.retire(id, state.now);
    replaced = id;
  }
  return 0;
}

bool is_orphan(DirectorState& state, ConnectionId id) {
  const auto* destination = state.connections.destination(state.connections.at(id));
  return destination != nullptr && !destination->is_available && !is_draining(state, *destination);
}

// What few connections need before a packet is sent on. A verdict if it must not be.
std::optional<Verdict> help(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto flags = state.connections.at(id).flags;
  if ((flags & kConnectionNoClientPort) != 0) {
    state.connections.learn_client_port(id, context.headers.source_port, state.now);
  }
  if ((flags & kConnectionFtp) != 0) return ftp_request(state, context, id);
  return std::nullopt;
}

// A packet to an address that is also SNAT's, which no service wants.
std::optional<Verdict> to_mapping(DirectorState& state, PacketContext& context, const Flow& flow) {
  if (!state.snat.rules.is_outside(flow.virtual_end.address)) return std::nullopt;
  const auto* service = state.services.find_for_packet(
      mark(state, context), flow.protocol, flow.virtual_end.address, flow.virtual_end.port);
  return service == nullptr ? open_snat(state, context) : std::nullopt;
}

// Other directors hear of it, if that is due.
void tell_others(DirectorState& state, ConnectionId id) {
  const auto& record = state.connections.at(id);
  const bool is_one_packet = (record.flags & kConnectionOnePacket) != 0;
  sync_connection(state, id,
                  is_one_packet ? static_cast<std::uint32_t>(state.settings.sync_threshold)
                                : record.packets_in);
}

// What all packets of a connection from the client have in common.
Verdict forward(DirectorState& state, PacketContext& context, ConnectionId id) {
  auto& record = state.connections.at(id);
  count_in(state, record, context);
  track(state, context, id, false);
  std::optional<Verdict> verdict;
  if ((record.flags & (kConnectionFtp | kConnectionNoClientPort)) != 0) {
    verdict = help(state, context, id);
  }
  if (!verdict) verdict = transmit(state, context, id);
  ++record.packets_in;
  if (state.sync.master) tell_others(state, id);
  settle(state, context, id, *verdict, false);
  return *verdict;
}

}  // namespace

Verdict forward_request(DirectorState& state, PacketContext& context) noexcept {
  if (state.is_passive()) return Verdict::host();
  record_options(context);

  const auto flow = request_flow(context.headers);
  ConnectionId replaced = 0;
  auto id = find_connection(state, context, flow, replaced);
  if (id == 0) {
    if (state.snat.rules.size() != 0 && replaced == 0) {
      if (const auto verdict = to_mapping(state, context, flow)) return *verdict;
    }
    const auto scheduled = schedule(state, context, flow, false);
    if (replaced != 0) state.connections.expire_now(replaced, state.now);
    if (scheduled.connection == 0) return scheduled.verdict;
    id = scheduled.connection;
  }
  if ((state.connections.at(id).flags & kConnectionSnat) != 0) {
    return forward_from_outside(state, context, id);
  }
  if (is_orphan(state, id)) return Verdict::drop(DropReason::kDestinationRemoved);
  return forward(state, context, id);
}

}  // namespace lb::engine
