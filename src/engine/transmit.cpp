// SPDX-License-Identifier: Apache-2.0
#include "engine/transmit.hpp"

#include <algorithm>

#include "engine/accounting.hpp"
#include "engine/cached_route.hpp"
#include "engine/forward/ethernet.hpp"
#include "engine/forward/fragment.hpp"
#include "engine/forward/masquerade.hpp"
#include "engine/forward/ttl.hpp"
#include "engine/forward/tunnel.hpp"

namespace lb::engine {
namespace {

// Smallest MTUs that IP allows (RFC 791, RFC 8200): a tunnel below cannot carry anything.
constexpr std::uint32_t kMinMtuV4 = 68;
constexpr std::uint32_t kMinMtuV6 = 1280;

Verdict unreachable(DirectorState& state, PacketContext& context) {
  report_error(state, context, IcmpError::host_unreachable(context.headers.family()));
  return Verdict::drop(DropReason::kNoRoute);
}

Verdict masquerade(DirectorState& state, PacketContext& context, const ConnectionRecord& record,
                   const CachedRoute& route) {
  const auto to = state.connections.real_end(record);
  // The world may not reach a loopback address by way of us.
  if (route.is_local && to.address.is_loopback() && !context.is_from_host()) {
    return Verdict::drop(DropReason::kUnsupported);
  }
  if (!route.is_local) {
    if (auto verdict = check_hop(state, context, route.hop.mtu, Payload::kRequest, false)) {
      return *verdict;
    }
  }
  if (!rewrite_destination(context.packet.bytes(), context.headers, to)) {
    return Verdict::drop(DropReason::kTruncated);
  }
  return route.is_local ? Verdict::host() : send_out(state, context, route.hop);
}

Verdict direct(DirectorState& state, PacketContext& context, const CachedRoute& route) {
  if (route.is_local) return Verdict::host();
  if (auto verdict = check_hop(state, context, route.hop.mtu, Payload::kRequest, false)) {
    return *verdict;
  }
  complete_checksum(context.packet.bytes(), context.headers);
  return send_out(state, context, route.hop);
}

Verdict tunnel(DirectorState& state, PacketContext& context, const ConnectionRecord& record,
               const CachedRoute& route) {
  if (route.is_local) return Verdict::host();
  // A connection from the sync daemon may have no destination here, and goes by IPIP then.
  const auto* destination = state.connections.destination(record);
  const auto spec = destination != nullptr ? destination->spec.tunnel : model::TunnelSpec{};
  const auto end = destination != nullptr ? destination->spec.address
                                          : state.connections.real_end(record).address;
  const auto outer = end.family();
  const auto overhead = static_cast<std::uint32_t>(tunnel_overhead(spec, outer));
  const auto least = outer == net::Family::kIpv4 ? kMinMtuV4 : kMinMtuV6;
  if (route.hop.mtu < overhead + least) return Verdict::drop(DropReason::kTooBig);
  if (auto verdict = check_hop(state, context, route.hop.mtu - overhead, Payload::kRequest, true)) {
    return *verdict;
  }
  const bool same_family = outer == context.headers.family();
  if (!encapsulate(context.packet, context.headers,
                   {.spec = spec,
                    .source = route.source,
                    .destination = end,
                    .copy_dont_fragment = state.settings.pmtu_disc != 0,
                    .identification = state.next_identification()})) {
    return Verdict::drop(DropReason::kNoHeadroom);
  }
  // What Linux notes about fragments does not outlive a header of the other family.
  if (!same_family) context.shape.largest = 0;
  return send_out(state, context, route.hop);
}

Verdict forward(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto& record = state.connections.at(id);
  const auto route = route_to_server(state, id);
  // Linux merges the fragments of what it takes for its own IPv4 packets, and cuts them anew.
  if (context.headers.family() == net::Family::kIpv4) context.shape.payloads = {};
  if (!route.is_local && !route.has_route) return unreachable(state, context);

  switch (record.method) {
    case model::ForwardingMethod::kMasquerade:
      return masquerade(state, context, record, route);
    case model::ForwardingMethod::kTunnel:
      return tunnel(state, context, record, route);
    case model::ForwardingMethod::kDirectRoute:
    case model::ForwardingMethod::kBypass:
      return direct(state, context, route);
    case model::ForwardingMethod::kLocalNode:
      return Verdict::host();
  }
  return Verdict::drop(DropReason::kInternal);
}

}  // namespace

void report_error(DirectorState& state, PacketContext& context, const IcmpError& error) noexcept {
  // A packet that only policy routing made ours has no address here to answer from.
  if (context.packet.routed_locally && !state.network.is_local(context.headers.destination)) return;
  const std::span<const std::byte> bytes = context.packet.bytes();
  if (send_icmp_error(bytes, context.headers, error, state.next_identification(), state.network,
                      context.outputs)) {
    ++state.counters.icmp_errors_sent;
  }
}

CachedRoute route_to_server(DirectorState& state, ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  auto* destination = state.connections.destination(record);
  if (destination == nullptr) {
    // Bypass goes to where the packet was addressed.
    const auto to = record.method == model::ForwardingMethod::kBypass
                        ? state.connections.virtual_end(record)
                        : state.connections.real_end(record);
    return look_up_route(state.network, to.address);
  }
  return route_of(state.network, *destination);
}

std::optional<Verdict> check_hop(DirectorState& state, PacketContext& context, std::uint32_t mtu,
                                 Payload payload, bool is_tunnel) noexcept {
  const auto family = context.headers.family();
  if (!context.is_from_host() && !decrement_ttl(context.packet.bytes(), context.headers)) {
    report_error(state, context, IcmpError::time_exceeded(family));
    return Verdict::drop(DropReason::kTtlExceeded);
  }
  if (payload == Payload::kIcmpError) return std::nullopt;

  bool is_too_big;
  if (family == net::Family::kIpv4) {
    const bool ignores_df = is_tunnel && state.settings.pmtu_disc == 0;
    is_too_big = context.headers.dont_fragment && !ignores_df && context.headers.ip_size() > mtu;
  } else {
    const std::size_t largest =
        context.shape.largest != 0 ? context.shape.largest : context.headers.ip_size();
    is_too_big = largest > mtu;
  }
  if (!is_too_big) return std::nullopt;
  report_error(state, context, IcmpError::too_big(family, mtu));
  return Verdict::drop(DropReason::kTooBig);
}

Verdict send_out(DirectorState& state, PacketContext& context, const NextHop& hop) noexcept {
  const auto& headers = context.headers;
  write_ethernet(context.packet.bytes(), headers.ip_offset, headers.family(), hop);
  const auto verdict = Verdict::send(hop);
  // Of IPv6 only what is larger than the largest fragment that came leaves in fragments again.
  const bool came_in_pieces =
      context.shape.largest != 0 &&
      (headers.family() == net::Family::kIpv4 || headers.ip_size() > context.shape.largest);
  if (!came_in_pieces && headers.ip_size() <= hop.mtu) {
    // What lies behind the IP packet is padding of the frame that came.
    (void)context.packet.resize(headers.end);
    return verdict;
  }
  const std::span<const std::byte> frame = context.packet.bytes();
  const bool is_sent =
      headers.family() == net::Family::kIpv4
          ? fragment_ipv4(frame, headers, hop.mtu, context.shape, verdict, context.outputs)
          : fragment_ipv6(frame, headers, hop.mtu, context.shape,
                          net::Be32::from_host(state.next_identification().to_host()), verdict,
                          context.outputs);
  return is_sent ? Verdict::consumed() : Verdict::drop(DropReason::kOutputFull);
}

Verdict transmit(DirectorState& state, PacketContext& context, ConnectionId id) noexcept {
  const auto before = context.outputs.frames().size();
  const auto verdict = forward(state, context, id);
  if (verdict.kind == Verdict::Kind::kDrop) {
    count_own_error(state, state.connections.at(id), context, before);
  }
  return verdict;
}

Verdict send_answer(DirectorState& state, PacketContext& context,
                    const net::Endpoint& from) noexcept {
  const auto client = context.headers.destination;
  const bool to_host = state.network.is_local(client);
  const auto hop = state.network.route(client);
  if (!to_host) {
    if (!hop) return unreachable(state, context);
    if (auto verdict = check_hop(state, context, hop->mtu, Payload::kRequest, false)) {
      return *verdict;
    }
  }
  if (!rewrite_source(context.packet.bytes(), context.headers, from)) {
    return Verdict::drop(DropReason::kTruncated);
  }
  return to_host ? Verdict::host() : send_out(state, context, *hop);
}

}  // namespace lb::engine
