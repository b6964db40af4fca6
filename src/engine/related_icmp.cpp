// SPDX-License-Identifier: Apache-2.0
#include "engine/related_icmp.hpp"

#include "engine/accounting.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/forward/tunnel.hpp"
#include "engine/schedule.hpp"
#include "engine/snat_path.hpp"
#include "engine/transmit.hpp"
#include "net/bytes.hpp"

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
  const bool is_unverified_v6 =
      context.headers.family() == net::Family::kIpv6 && !context.packet.checksum_verified;
  if (has_bad_checksum(context) ||
      (is_unverified_v6 && state.settings.quirk_icmpv6_checksum != 0)) {
    return Verdict::drop(DropReason::kBadIcmp);
  }
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

// Where the packet inside a quoted tunnel packet begins; 0 if it is none of that type.
std::size_t inner_offset(std::span<const std::byte> bytes, const net::Headers& quoted,
                         const model::TunnelSpec& tunnel) {
  constexpr std::size_t kUdpHeader = 8;
  constexpr std::size_t kGueHeader = 4;
  constexpr std::size_t kGreHeader = 4;
  constexpr std::size_t kGreChecksum = 4;
  constexpr std::uint8_t kGreHasChecksum = 0x80;
  const std::size_t start = quoted.transport_offset;
  switch (tunnel.type) {
    case model::TunnelType::kIpip:
      return quoted.protocol == net::Protocol::kIpip ? start : 0;
    case model::TunnelType::kGue:
      if (quoted.protocol != net::Protocol::kUdp || quoted.destination_port != tunnel.port)
        return 0;
      return start + kUdpHeader + kGueHeader;
    case model::TunnelType::kGre: {
      if (quoted.protocol != net::Protocol::kGre || !net::holds(bytes, start, kGreHeader)) return 0;
      const bool has_checksum = (net::load<std::uint8_t>(bytes, start) & kGreHasChecksum) != 0;
      return start + kGreHeader + (has_checksum ? kGreChecksum : 0);
    }
  }
  return 0;
}

struct TunnelError {
  ConnectionId connection = 0;
  net::Headers inner;
};

// The connection whose packet we had wrapped when the error happened; 0 if there is none.
TunnelError find_tunneled(DirectorState& state, const PacketContext& context,
                          const net::Headers& quoted) {
  const auto all = std::span<const std::byte>(context.packet.bytes()).first(context.headers.end);
  for (const auto type :
       {model::TunnelType::kIpip, model::TunnelType::kGre, model::TunnelType::kGue}) {
    const auto offset =
        inner_offset(all, quoted, {.type = type, .port = quoted.destination_port, .flags = 0});
    if (offset == 0) continue;
    const auto inner = net::parse_embedded(all, offset);
    if (!inner) return {};
    const auto flow = request_flow(*inner);
    const auto id = state.connections.find(flow.protocol, flow.client, flow.virtual_end);
    if (id == 0) return {};
    const auto* destination = state.connections.destination(state.connections.at(id));
    if (destination == nullptr || destination->spec.tunnel.type != type ||
        destination->spec.method != model::ForwardingMethod::kTunnel ||
        destination->spec.address != quoted.destination) {
      return {};
    }
    // What comes from the end of no tunnel that is in use is the host's.
    if (!destination->is_available &&
        !state.destinations.has_tunnel(quoted.destination, type, quoted.destination_port)) {
      return {};
    }
    return {id, *inner};
  }
  return {};
}

// An error about a packet that we wrapped becomes one about the client's packet inside.
Verdict relay_tunnel_error(DirectorState& state, PacketContext& context, const net::Headers& quoted,
                           const TunnelError& found) {
  constexpr std::uint8_t kUnreachable = 3;
  constexpr std::uint8_t kFragmentationNeeded = 4;
  constexpr std::uint32_t kLeastMtu = 68;
  if (has_bad_checksum(context)) return Verdict::drop(DropReason::kBadIcmp);
  const std::span<const std::byte> bytes = context.packet.bytes();
  IcmpError error{
      .type = context.headers.icmp_type,
      .code = context.headers.icmp_code,
      .rest =
          net::load<net::Be32>(bytes, context.headers.transport_offset + std::size_t{4}).to_host()};
  if (error.type == kUnreachable && error.code == kFragmentationNeeded) {
    const auto* destination = state.connections.destination(state.connections.at(found.connection));
    state.network.set_path_mtu(quoted.destination, error.rest & 0xffffU);
    if (!found.inner.dont_fragment) return Verdict::consumed();
    // What the client is told is the MTU of the route in use; the next packet that is too large
    // finds the new one.
    const auto overhead = static_cast<std::uint32_t>(
        tunnel_overhead(destination->spec.tunnel, destination->spec.address.family()));
    const auto mtu = destination->route.hop.mtu;
    error.rest = mtu > kLeastMtu + overhead ? mtu - overhead : mtu;
  }
  const auto& record = state.connections.at(found.connection);
  const auto before = context.outputs.frames().size();
  if (send_icmp_error(bytes, found.inner, error, state.next_identification(), state.network,
                      context.outputs)) {
    ++state.counters.icmp_errors_sent;
    count_own_error(state, record, context, before);
  }
  // IPVS counts what was quoted as well.
  count_out(state, record, context.headers.end - found.inner.ip_offset);
  return Verdict::consumed();
}

}  // namespace

std::optional<Verdict> forward_icmp_error(DirectorState& state, PacketContext& context) noexcept {
  const std::span<const std::byte> bytes = context.packet.bytes();
  const auto quoted =
      net::parse_embedded(bytes.first(context.headers.end), embedded_offset(context.headers));
  if (!quoted) return std::nullopt;

  if (state.network.is_local(quoted->source) && context.headers.family() == net::Family::kIpv4 &&
      !state.is_passive()) {
    if (const auto found = find_tunneled(state, context, *quoted); found.connection != 0) {
      return relay_tunnel_error(state, context, *quoted, found);
    }
  }
  if (state.snat.rules.size() != 0) {
    if (const auto verdict = forward_snat_error(state, context, *quoted)) return verdict;
  }
  // Quoted as we sent it: from the client to the real server.
  const auto sent = request_flow(*quoted);
  if (const auto id = state.connections.find_reply(sent.protocol, sent.virtual_end, sent.client)) {
    return to_client(state, context, *quoted, id);
  }
  if (state.is_passive()) return std::nullopt;
  // Quoted as the server answered: from the virtual address to the client.
  const auto answered = reply_flow(*quoted);
  auto id = state.connections.find(answered.protocol, answered.client, answered.virtual_end);
  if (id == 0) {
    if (state.settings.schedule_icmp == 0 || !quoted->has_ports) return std::nullopt;
    const auto scheduled = schedule(state, context, answered, true);
    if (scheduled.connection == 0) return scheduled.verdict;
    id = scheduled.connection;
    if ((state.connections.at(id).flags & kConnectionOnePacket) != 0) {
      const auto verdict = to_server(state, context, *quoted, id);
      state.connections.end_one_packet(id, state.now);
      return verdict;
    }
    state.connections.touch(id, state.now);
  }
  return to_server(state, context, *quoted, id);
}

}  // namespace lb::engine
