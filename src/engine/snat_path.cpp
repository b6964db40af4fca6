// SPDX-License-Identifier: Apache-2.0
// The way of a packet that SNAT translates.
#include "engine/snat_path.hpp"

#include "engine/accounting.hpp"
#include "engine/forward/masquerade.hpp"
#include "engine/snat_open.hpp"
#include "engine/tracking.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

bool is_echo(const PacketContext& context) noexcept {
  return context.headers.protocol == net::Protocol::kIcmp ||
         context.headers.protocol == net::Protocol::kIcmpv6;
}

bool set_source(PacketContext& context, const net::Endpoint& end) noexcept {
  const auto bytes = context.packet.bytes();
  return is_echo(context) ? rewrite_echo_source(bytes, context.headers, end)
                          : rewrite_source(bytes, context.headers, end);
}

bool set_destination(PacketContext& context, const net::Endpoint& end) noexcept {
  const auto bytes = context.packet.bytes();
  return is_echo(context) ? rewrite_echo_destination(bytes, context.headers, end)
                          : rewrite_destination(bytes, context.headers, end);
}

Verdict unreachable(DirectorState& state, PacketContext& context) noexcept {
  report_error(state, context, IcmpError::host_unreachable(context.headers.family()));
  return Verdict::drop(DropReason::kNoRoute);
}

/// The rule of a connection; null once it is deleted.
SnatEntry* rule_of(DirectorState& state, const ConnectionRecord& record) noexcept {
  const auto* account = state.connections.destination(record);
  return account != nullptr && account->is_available ? state.snat.rules.at(account->snat_slot)
                                                     : nullptr;
}

/// Moves the state by a packet, and takes over the rule's timeout.
void follow(DirectorState& state, const PacketContext& context, ConnectionId id,
            const SnatEntry& entry, SnatNumbers::Side side) noexcept {
  auto& record = state.connections.at(id);
  // Who opened the connection is the client to the state machine.
  const bool is_inside_client = (record.flags & kConnectionFromInside) != 0;
  const bool is_reply = is_inside_client != (side == SnatNumbers::kInside);
  track(state, context, id, is_reply);
  record.timeout_s = entry.timeout(record.protocol, record.state);
  if (record.protocol == net::Protocol::kTcp && state.snat.numbers) {
    (*state.snat.numbers)[id].note(context, side);
  }
}

void settle_snat(DirectorState& state, ConnectionId id, const Verdict& verdict,
                 bool by_reply_key) noexcept {
  state.connections.touch(id, state.now);
  const bool is_sent = verdict.kind == Verdict::Kind::kSend;
  if (state.fast_path && is_sent) state.fast_path->offer(id, by_reply_key, state.now);
}

Verdict send_outside(DirectorState& state, PacketContext& context,
                     const net::Endpoint& shown) noexcept {
  const auto hop = state.network.route(context.headers.destination);
  if (!hop || hop->out == InterfaceId::kHost) return unreachable(state, context);
  if (auto verdict = check_hop(state, context, hop->mtu, Payload::kRequest, false)) {
    return *verdict;
  }
  if (!set_source(context, shown)) return Verdict::drop(DropReason::kTruncated);
  return send_out(state, context, *hop);
}

Verdict send_inside(DirectorState& state, PacketContext& context,
                    const net::Endpoint& inside) noexcept {
  const bool is_local = state.network.is_local(inside.address);
  const auto hop = state.network.route(inside.address);
  if (!is_local) {
    if (!hop) return unreachable(state, context);
    if (auto verdict = check_hop(state, context, hop->mtu, Payload::kRequest, false)) {
      return *verdict;
    }
  }
  if (!set_destination(context, inside)) return Verdict::drop(DropReason::kTruncated);
  return is_local ? Verdict::host() : send_out(state, context, *hop);
}

/// A packet that was made to come from the pool, to an address of another mapping: goes back in.
/// Both translations count as one hop.
Verdict turn_back(DirectorState& state, PacketContext& context) noexcept {
  const auto flow = flow_from_outside(context.packet.bytes(), context.headers);
  if (!flow) return Verdict::drop(DropReason::kTruncated);
  auto id = state.connections.find(flow->protocol, flow->outside, flow->inside);
  if (id == 0) {
    auto* entry = state.snat.rules.match_static(flow->protocol, flow->inside.address,
                                                flow->inside.port.to_host());
    if (entry == nullptr) return Verdict::drop(DropReason::kSnatNoConnection);
    const auto opened = open_from_outside(state, context, *entry, *flow);
    if (opened.connection == 0) return opened.verdict;
    id = opened.connection;
  }
  if ((state.connections.at(id).flags & kConnectionSnat) == 0) {
    return Verdict::drop(DropReason::kSnatNoConnection);
  }
  return forward_from_outside(state, context, id);
}

Verdict hairpin(DirectorState& state, PacketContext& context, const net::Endpoint& shown) noexcept {
  // Only now does the sender's address stand in the packet.
  if (context.headers.ttl <= 1) {
    report_error(state, context, IcmpError::time_exceeded(context.headers.family()));
    return Verdict::drop(DropReason::kTtlExceeded);
  }
  if (!set_source(context, shown)) return Verdict::drop(DropReason::kTruncated);
  return turn_back(state, context);
}

/// A packet from outside that pretends to come from inside: it came by the interface that it would
/// leave by, and that is not the way to its source.
bool is_spoofed(const DirectorState& state, const PacketContext& context,
                const NextHop& hop) noexcept {
  if (hop.out != context.ingress) return false;
  const auto back = state.network.route(context.headers.source);
  return !back || back->out != context.ingress;
}

std::optional<Verdict> open_to_mapping(DirectorState& state, PacketContext& context) noexcept {
  auto& rules = state.snat.rules;
  const auto& headers = context.headers;
  const auto in = flow_from_outside(context.packet.bytes(), headers);
  auto* fixed = in ? rules.match_static(in->protocol, in->inside.address, in->inside.port.to_host())
                   : nullptr;
  if (fixed != nullptr) {
    const auto out = flow_from_inside(context.packet.bytes(), headers);
    auto* own = rules.match({.inside = headers.source,
                             .destination = headers.destination,
                             .protocol = headers.protocol,
                             .inside_port = out->inside.port.to_host(),
                             .interface = {},
                             .is_hairpin = true});
    const auto opened = own != nullptr ? open_from_inside(state, context, *own, *out)
                                       : open_from_outside(state, context, *fixed, *in);
    if (opened.connection == 0) return opened.verdict;
    return own != nullptr ? forward_from_inside(state, context, opened.connection)
                          : forward_from_outside(state, context, opened.connection);
  }
  // What is the host's own address may have a program behind it.
  if (state.network.is_local(headers.destination)) return std::nullopt;
  return Verdict::drop(DropReason::kSnatNoConnection);
}

std::optional<Verdict> open_to_world(DirectorState& state, PacketContext& context) noexcept {
  const auto& headers = context.headers;
  if (state.network.is_local(headers.destination) ||
      !state.network.is_unicast(headers.destination) || headers.destination.is_multicast() ||
      headers.destination.is_link_local_v6() || headers.source.is_link_local_v6()) {
    return std::nullopt;
  }
  const auto flow = flow_from_inside(context.packet.bytes(), headers);
  const auto hop = flow ? state.network.route(headers.destination) : std::nullopt;
  if (!hop) return std::nullopt;
  const auto* interface = state.network.interface(hop->out);
  auto* entry = state.snat.rules.match(
      {.inside = headers.source,
       .destination = headers.destination,
       .protocol = headers.protocol,
       .inside_port = flow->inside.port.to_host(),
       .interface = interface == nullptr ? std::string_view{} : std::string_view(interface->name)});
  if (entry == nullptr || is_spoofed(state, context, *hop)) return std::nullopt;
  const auto opened = open_from_inside(state, context, *entry, *flow);
  if (opened.connection == 0) return opened.verdict;
  return forward_from_inside(state, context, opened.connection);
}

}  // namespace

Verdict forward_from_inside(DirectorState& state, PacketContext& context,
                            ConnectionId id) noexcept {
  auto& record = state.connections.at(id);
  const auto* entry = rule_of(state, record);
  if (entry == nullptr) return Verdict::drop(DropReason::kDestinationRemoved);
  count_in(state, record, context);
  follow(state, context, id, *entry, SnatNumbers::kInside);
  ++record.packets_in;
  const auto shown = state.connections.virtual_end(record);
  if (state.snat.rules.is_outside(context.headers.destination)) {
    const auto verdict = hairpin(state, context, shown);
    state.connections.touch(id, state.now);
    return verdict;
  }
  const auto verdict = send_outside(state, context, shown);
  settle_snat(state, id, verdict, true);
  return verdict;
}

Verdict forward_from_outside(DirectorState& state, PacketContext& context,
                             ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  const auto* entry = rule_of(state, record);
  if (entry == nullptr) return Verdict::drop(DropReason::kDestinationRemoved);
  count_out(state, record, context);
  follow(state, context, id, *entry, SnatNumbers::kOutside);
  // What turned back here does not come by XDP as it is now.
  const bool is_turned = state.snat.rules.is_outside(context.headers.source);
  const auto verdict = send_inside(state, context, state.connections.real_end(record));
  if (is_turned) {
    state.connections.touch(id, state.now);
  } else {
    settle_snat(state, id, verdict, false);
  }
  return verdict;
}

std::optional<Verdict> open_snat(DirectorState& state, PacketContext& context) noexcept {
  if (context.is_from_host() || state.is_passive()) return std::nullopt;
  if (!state.snat.rules.is_outside(context.headers.destination)) {
    return open_to_world(state, context);
  }
  // Packets to the host's own addresses were looked up already, but no echo, and none to addresses
  // that are only routed here.
  if (const auto flow = flow_from_outside(context.packet.bytes(), context.headers)) {
    const auto id = state.connections.find(flow->protocol, flow->outside, flow->inside);
    if (id != 0 && (state.connections.at(id).flags & kConnectionSnat) != 0) {
      return forward_from_outside(state, context, id);
    }
  }
  return open_to_mapping(state, context);
}

std::optional<Verdict> forward_snat_echo(DirectorState& state, PacketContext& context) noexcept {
  const auto flow = flow_from_inside(context.packet.bytes(), context.headers);
  if (!flow || !is_echo(context) || context.is_from_host()) return std::nullopt;
  const auto id = state.connections.find_reply(flow->protocol, flow->inside, flow->outside);
  if (id != 0) return forward_from_inside(state, context, id);
  return open_snat(state, context);
}

}  // namespace lb::engine
