// SPDX-License-Identifier: Apache-2.0
#include "engine/stand_in_flows.hpp"

#include <algorithm>

#include "engine/persistence.hpp"
#include "engine/removal.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

// So long after XDP decided last it is taken to be deciding still.
constexpr std::uint32_t kDecidingSeconds = 3;

ConnectionId open_flow(DirectorState& state, Service& service, Destination& destination,
                       const Flow& flow) {
  const auto& spec = destination.spec;
  const auto port = spec.port != net::Port{} ? spec.port : flow.virtual_end.port;
  const auto id = state.connections.open({.protocol = flow.protocol,
                                          .client = flow.client,
                                          .virtual_end = flow.virtual_end,
                                          .real_end = {spec.address, port},
                                          .destination = &destination},
                                         state.now);
  if (id == 0) return 0;
  if (service.is_persistent()) hold_by_template(state, service, flow, id);
  count_connection(state, service, destination);
  return id;
}

TcpState state_of(const StandIn::Note& note) noexcept {
  if ((note.state & STAND_IN_ENDS) != 0) return TcpState::kFinWait;
  return (note.state & STAND_IN_GOES_ON) != 0 ? TcpState::kEstablished : TcpState::kSynRecv;
}

// Makes a connection of a noted flow; 0: it can't be one.
ConnectionId adopt_note(DirectorState& state, const StandIn::Note& note) {
  const Flow flow{note.virtual_end.protocol, note.client, note.virtual_end.end};
  auto* service = state.services.find_for_packet(0, flow.protocol, flow.virtual_end.address,
                                                 flow.virtual_end.port);
  if (service == nullptr || !state.destinations.contains(note.target)) return 0;
  auto& destination = state.destinations.at(note.target);
  if (destination.service != service) return 0;
  auto& connections = state.connections;
  if (const auto old = connections.find(flow.protocol, flow.client, flow.virtual_end)) {
    if (connections.at(old).destination == note.target) return old;
    // It was not established, or XDP would have gone on with it.
    if (connections.controls_others(old)) return 0;
    connections.expire_now(old, state.now);
  }
  const auto id = open_flow(state, *service, destination, flow);
  if (id == 0) return 0;
  connections.go_on(id, state_of(note));
  if (state.removal.services_with_timeouts != 0) apply_service_timeouts(state, id);
  const auto seen = std::chrono::milliseconds(state.fast_path->last_seen_ms(note.words, state.now));
  connections.touch(id, {std::min<Duration>(seen, state.now.since_start)});
  return id;
}

FlowEnd virtual_end_of(const Flow& flow) noexcept {
  return {.side = FLOW_VIRTUAL, .protocol = flow.protocol, .end = flow.virtual_end};
}

}  // namespace

bool adopt_notes(DirectorState& state, std::size_t budget) noexcept {
  if (!state.stand_in) return false;
  return state.stand_in->take_notes(budget, [&](const StandIn::Note& note) {
    state.stand_in->count_note(adopt_note(state, note) != 0);
  });
}

ConnectionId continue_flow(DirectorState& state, const Flow& flow, bool is_first) noexcept {
  if (!state.stand_in) return 0;
  if (const auto note = state.stand_in->take_note_of(virtual_end_of(flow), flow.client)) {
    const auto id = adopt_note(state, *note);
    state.stand_in->count_note(id != 0);
    return id;
  }
  if (is_first || flow.protocol != net::Protocol::kTcp) return 0;
  auto* service = state.services.find_for_packet(0, flow.protocol, flow.virtual_end.address,
                                                 flow.virtual_end.port);
  if (service == nullptr) return 0;
  auto* destination = state.stand_in->choose_for_stray(*service, flow.client, state.now);
  return destination == nullptr ? 0 : open_flow(state, *service, *destination, flow);
}

Destination* choose_as_stand_in(DirectorState& state, Service& service, const Flow& flow) noexcept {
  if (!state.stand_in || service.stand_in.word == 0) return nullptr;
  const auto seconds = flow.protocol == net::Protocol::kUdp
                           ? std::max(state.connections.timeouts().udp, kDecidingSeconds)
                           : kDecidingSeconds;
  if (!state.stand_in->has_decided(seconds, state.now)) return nullptr;
  auto* destination = state.stand_in->choose(service, flow.client);
  return destination != nullptr && destination->is_usable() ? destination : nullptr;
}

std::optional<Verdict> answer_as_stand_in(DirectorState& state, PacketContext& context) noexcept {
  if (!state.stand_in) return std::nullopt;
  const auto& headers = context.headers;
  const FlowEnd real{.side = FLOW_REAL,
                     .protocol = headers.protocol,
                     .end = {headers.source, headers.source_port}};
  const auto shown = state.stand_in->answers_as(real, state.now);
  if (!shown) return std::nullopt;
  return send_answer(state, context, shown->end);
}

}  // namespace lb::engine
