// SPDX-License-Identifier: Apache-2.0
#include "engine/answers.hpp"

#include "engine/accounting.hpp"
#include "engine/forward/ttl.hpp"
#include "engine/ftp.hpp"
#include "engine/persistence.hpp"
#include "engine/snat_path.hpp"
#include "engine/stand_in_flows.hpp"
#include "engine/tracking.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

// The answer of a masqueraded real server.
Verdict answer(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto& record = state.connections.at(id);
  if ((record.flags & (kConnectionFtp | kConnectionSnat)) != 0) {
    if ((record.flags & kConnectionSnat) != 0) return forward_from_inside(state, context, id);
    if (auto verdict = ftp_answer(state, context, id)) return *verdict;
  }
  count_out(state, record, context);
  track(state, context, id, true);
  const auto verdict = send_answer(state, context, state.connections.virtual_end(record));
  settle(state, context, id, verdict, true);
  return verdict;
}

// The answer of a real server on the director itself, reached by direct routing: it leaves as it
// is, but the connection sees it.
ConnectionId find_local_answer(DirectorState& state, const Flow& reply) {
  const auto id = state.connections.find(reply.protocol, reply.client, reply.virtual_end);
  if (id == 0) return 0;
  const auto method = state.connections.at(id).method;
  return method != model::ForwardingMethod::kMasquerade ? id : 0;
}

Verdict note_local_answer(DirectorState& state, PacketContext& context, ConnectionId id) {
  count_out(state, state.connections.at(id), context);
  track(state, context, id, true);
  state.connections.touch(id, state.now);
  return Verdict::host();
}

Verdict refuse(DirectorState& state, PacketContext& context) {
  const auto& headers = context.headers;
  if (state.settings.nat_icmp_send == 0 || !headers.has_ports ||
      (headers.tcp_flags & net::kTcpRst) != 0 ||
      state.connections.real_ends().find(headers.protocol, headers.source, headers.source_port) ==
          0) {
    return Verdict::host();
  }
  // The router has counted its hop before it hands packets to IPVS, and the quote shows it.
  if (!decrement_ttl(context.packet.bytes(), context.headers)) return Verdict::host();
  report_error(state, context, IcmpError::port_unreachable(headers.family()));
  return Verdict::drop(DropReason::kNotFirstPacket);
}

}  // namespace

std::optional<Verdict> forward_answer(DirectorState& state, PacketContext& context) noexcept {
  const auto reply = reply_flow(context.headers);
  if (const auto id = state.connections.find_reply(reply.protocol, reply.virtual_end, reply.client,
                                                   context.ahead)) {
    return answer(state, context, id);
  }
  if (!context.is_from_host()) return std::nullopt;
  if (const auto id = find_local_answer(state, reply)) return note_local_answer(state, context, id);
  if (const auto id = open_from_server(state, context, reply)) return answer(state, context, id);
  return std::nullopt;
}

Verdict forward_unsolicited(DirectorState& state, PacketContext& context) noexcept {
  const auto reply = reply_flow(context.headers);
  if (const auto id = open_from_server(state, context, reply)) return answer(state, context, id);
  if (const auto verdict = answer_as_stand_in(state, context)) return *verdict;
  if (state.snat.rules.size() != 0) {
    if (const auto verdict = open_snat(state, context)) return *verdict;
  }
  return refuse(state, context);
}

}  // namespace lb::engine
