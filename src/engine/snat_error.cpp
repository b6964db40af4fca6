// SPDX-License-Identifier: Apache-2.0
// ICMP errors about packets that SNAT translated.
#include "engine/accounting.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/snat_flow.hpp"
#include "engine/snat_path.hpp"
#include "engine/transmit.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

bool has_bad_checksum(const PacketContext& context) noexcept {
  const std::span<const std::byte> bytes = context.packet.bytes();
  return !context.packet.checksum_verified && !icmp_checksum_holds(bytes, context.headers);
}

/// True if the quoted segment may have been sent by `side`. If not, packets come to the engine for
/// now, so that the next error can be judged.
bool is_believable(DirectorState& state, const PacketContext& context, ConnectionId id,
                   const net::Headers& quoted, SnatNumbers::Side side) noexcept {
  constexpr std::size_t kSequence = 4;
  if (quoted.protocol != net::Protocol::kTcp || !state.snat.numbers) return true;
  const auto bytes = std::span<const std::byte>(context.packet.bytes()).first(context.headers.end);
  const auto at = quoted.transport_offset + kSequence;
  const bool is_quoted = net::holds(bytes, at, sizeof(net::Be32));
  if (is_quoted &&
      (*state.snat.numbers)[id].is_in_flight(net::load<net::Be32>(bytes, at).to_host(), side)) {
    return true;
  }
  state.connections.withdraw(id, state.now);
  return false;
}

/// Gives a quoted echo its identifier on the other side of the translation.
void translate_echo(PacketContext& context, const net::Headers& quoted, const net::Endpoint& end,
                    const net::IpAddress& was) noexcept {
  if (quoted.protocol != net::Protocol::kIcmp && quoted.protocol != net::Protocol::kIcmpv6) return;
  rewrite_quoted_echo(context.packet.bytes(), quoted, end.port, was, end.address);
}

std::optional<Verdict> check_all(DirectorState& state, PacketContext& context, ConnectionId id,
                                 const net::Headers& quoted, SnatNumbers::Side side) noexcept {
  if (has_bad_checksum(context)) return Verdict::drop(DropReason::kBadIcmp);
  if (!is_believable(state, context, id, quoted, side)) {
    return Verdict::drop(DropReason::kSnatForgedIcmp);
  }
  return std::nullopt;
}

/// From outside, about what an inside host sent.
Verdict to_inside(DirectorState& state, PacketContext& context, const net::Headers& quoted,
                  ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  if (auto verdict = check_all(state, context, id, quoted, SnatNumbers::kInside)) return *verdict;
  const auto inside = state.connections.real_end(record);
  const bool is_local = state.network.is_local(inside.address);
  const auto hop = state.network.route(inside.address);
  if (!is_local) {
    if (!hop) return Verdict::drop(DropReason::kNoRoute);
    if (auto verdict = check_hop(state, context, hop->mtu, Payload::kIcmpError, false)) {
      return *verdict;
    }
  }
  count_out(state, record, context);
  translate_echo(context, quoted, inside, quoted.source);
  if (!translate_icmp_to_server(context.packet.bytes(), context.headers, quoted, inside)) {
    return Verdict::drop(DropReason::kBadIcmp);
  }
  return is_local ? Verdict::host() : send_out(state, context, *hop);
}

/// From inside, about what came from outside: as from the address that stands for the inside host.
Verdict to_outside(DirectorState& state, PacketContext& context, const net::Headers& quoted,
                   ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  if (auto verdict = check_all(state, context, id, quoted, SnatNumbers::kOutside)) return *verdict;
  const bool turns = state.snat.rules.is_outside(context.headers.destination);
  const auto hop = turns ? std::nullopt : state.network.route(context.headers.destination);
  if (!turns) {
    if (!hop || hop->out == InterfaceId::kHost) return Verdict::drop(DropReason::kNoRoute);
    if (auto verdict = check_hop(state, context, hop->mtu, Payload::kIcmpError, false)) {
      return *verdict;
    }
  }
  count_in(state, record, context);
  const auto shown = state.connections.virtual_end(record);
  translate_echo(context, quoted, shown, quoted.destination);
  if (!translate_icmp_to_client(context.packet.bytes(), context.headers, quoted, shown)) {
    return Verdict::drop(DropReason::kBadIcmp);
  }
  if (!turns) return send_out(state, context, *hop);
  // A hairpin: what it is about was sent by another inside host.
  const std::span<const std::byte> bytes = context.packet.bytes();
  const auto again =
      net::parse_embedded(bytes.first(context.headers.end), embedded_offset(context.headers));
  if (!again) return Verdict::drop(DropReason::kBadIcmp);
  const auto flow = flow_from_inside(bytes, *again);
  const auto other =
      flow ? state.connections.find(flow->protocol, flow->outside, flow->inside) : ConnectionId{0};
  if (other == 0 || (state.connections.at(other).flags & kConnectionSnat) == 0) {
    return Verdict::drop(DropReason::kSnatNoConnection);
  }
  return to_inside(state, context, *again, other);
}

}  // namespace

std::optional<Verdict> forward_snat_error(DirectorState& state, PacketContext& context,
                                          const net::Headers& quoted) noexcept {
  if (context.is_from_host() || state.is_passive()) return std::nullopt;
  const auto bytes = std::span<const std::byte>(context.packet.bytes()).first(context.headers.end);
  auto& connections = state.connections;
  const auto is_snat = [&](ConnectionId id) {
    return id != 0 && (connections.at(id).flags & kConnectionSnat) != 0;
  };
  // Quoted as we sent it to an inside host.
  if (const auto flow = flow_from_outside(bytes, quoted)) {
    const auto id = connections.find_reply(flow->protocol, flow->inside, flow->outside);
    if (is_snat(id)) return to_outside(state, context, quoted, id);
  }
  // Quoted as we sent it to a host outside.
  if (const auto flow = flow_from_inside(bytes, quoted)) {
    const auto id = connections.find(flow->protocol, flow->outside, flow->inside);
    if (is_snat(id)) return to_inside(state, context, quoted, id);
  }
  const auto& to = context.headers.destination;
  if (!state.snat.rules.is_outside(to) || state.network.is_local(to)) return std::nullopt;
  return Verdict::drop(DropReason::kSnatNoConnection);
}

}  // namespace lb::engine
