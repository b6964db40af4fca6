// SPDX-License-Identifier: Apache-2.0
#include "engine/related_icmp.hpp"

#include "engine/accounting.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/schedule.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

bool has_bad_checksum(const PacketContext& context) {
  const std::span<const std::byte> bytes = context.packet.bytes();
  return !context.packet.checksum_verified && !icmp_checksum_holds(bytes, context.headers);
}

// An error from the servers' side about a packet that we sent to a masqueraded server: the client
// is told, as if the virtual server's host had complained.
Verdict to_client(DirectorState& state, PacketContext& context, const net::Headers& embedded,
                  ConnectionId id) {
  if (has_bad_checksum(context)) return Verdict::drop(DropReason::kBadIcmp);
  const auto& record = state.connections.at(id);
  const bool to_host = state.network.is_local(context.headers.destination);
  const auto hop = state.network.route(context.headers.destination);
  if (!to_host) {
    if (!hop) return Verdict::drop(DropReason::kNoRoute);
    if (auto verdict = check_hop(state, context, hop->mtu, Payload::kIcmpError, false)) {
      return *verdict;
    }
  }
  count_out(state, record, context);
  if (!translate_icmp_to_client(context.packet.bytes(), context.headers, embedded,
                                state.connections.virtual_end(record))) {
    return Verdict::drop(DropReason::kBadIcmp);
  }
  return to_host ? Verdict::host() : send_out(state, context, *hop);
}

// An error from the clients' side about an answer: it concerns the real server.
Verdict to_server(DirectorState& state, PacketContext& context, const net::Headers& embedded,
                  ConnectionId id) {
  if (has_bad_checksum(context)) return Verdict::drop(DropReason::kBadIcmp);
  auto& record = state.connections.at(id);
  count_in(state, record, context);
  if (record.method != model::ForwardingMethod::kMasquerade) {
    ++record.packets_in;
    return transmit(state, context, id);
  }
  const auto route = route_to_server(state, id);
  if (!route.is_local) {
    if (!route.has_route) return Verdict::drop(DropReason::kNoRoute);
    if (auto verdict = check_hop(state, context, route.hop.mtu, Payload::kIcmpError, false)) {
      return *verdict;
    }
  }
  if (!translate_icmp_to_server(context.packet.bytes(), context.headers, embedded,
                                state.connections.real_end(record))) {
    return Verdict::drop(DropReason::kBadIcmp);
  }
  return route.is_local ? Verdict::host() : send_out(state, context, route.hop);
}

}  // namespace

std::optional<Verdict> forward_icmp_error(DirectorState& state, PacketContext& context) noexcept {
  const std::span<const std::byte> bytes = context.packet.bytes();
  const auto quoted =
      net::parse_embedded(bytes.first(context.headers.end), embedded_offset(context.headers));
  if (!quoted) return std::nullopt;

  // Quoted as we sent it: from the client to the real server.
  const auto sent = request_flow(*quoted);
  if (const auto id = state.connections.find_reply(sent.protocol, sent.virtual_end, sent.client)) {
    return to_client(state, context, *quoted, id);
  }
  // Quoted as the server answered: from the virtual address to the client.
  const auto answered = reply_flow(*quoted);
  auto id = state.connections.find(answered.protocol, answered.client, answered.virtual_end);
  if (id == 0) {
    if (state.settings.schedule_icmp == 0 || !quoted->has_ports) return std::nullopt;
    const auto scheduled = schedule(state, context, answered, true);
    if (scheduled.connection == 0) return scheduled.verdict;
    id = scheduled.connection;
    state.connections.touch(id, state.now);
  }
  return to_server(state, context, *quoted, id);
}

}  // namespace lb::engine
