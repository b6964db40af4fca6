// SPDX-License-Identifier: Apache-2.0
#include "engine/director.hpp"

#include <algorithm>
#include <optional>

#include "engine/accounting.hpp"
#include "engine/director_state.hpp"
#include "engine/forward/icmp_error.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/forward/ttl.hpp"
#include "engine/ftp.hpp"
#include "engine/packet_context.hpp"
#include "engine/persistence.hpp"
#include "engine/related_icmp.hpp"
#include "engine/schedule.hpp"
#include "engine/transmit.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

constexpr auto kEstimateInterval = std::chrono::seconds(2);
constexpr auto kSweepInterval = std::chrono::seconds(60);
constexpr auto kDefenceInterval = std::chrono::seconds(1);
// After a jump of the clock old averages say nothing; so many missed ticks are enough to forget
// them.
constexpr int kMaxTicksAtOnce = 64;
constexpr std::uint32_t kOrphanSlotsAtOnce = 1U << 16;

bool is_balanced(net::Protocol protocol) {
  switch (protocol) {
    case net::Protocol::kTcp:
    case net::Protocol::kUdp:
    case net::Protocol::kSctp:
    case net::Protocol::kEsp:
    case net::Protocol::kAh:
      return true;
    default:
      return false;
  }
}

// Requests are those to an address of the director, and what its own programs send.
bool is_request(const DirectorState& state, const PacketContext& context) {
  return context.is_from_host() || context.packet.routed_locally ||
         state.network.is_local(context.headers.destination);
}

// Moves the connection's state by this packet.
void track(DirectorState& state, const PacketContext& context, ConnectionId id, bool is_reply) {
  constexpr std::size_t kIpv6Header = 40;
  constexpr std::size_t kTcpHeader = 20;
  constexpr std::size_t kTcpFlagsOffset = 13;
  auto headers = context.headers;
  auto transport = context.transport();
  const auto fixed = std::size_t{headers.ip_offset} + kIpv6Header;
  if (state.settings.quirk_ipv6_extension_state != 0 && headers.family() == net::Family::kIpv6 &&
      std::size_t{headers.transport_offset} != fixed) {
    transport =
        std::span<const std::byte>(context.packet.bytes()).subspan(fixed, headers.end - fixed);
    headers.has_transport_header = transport.size() >= kTcpHeader;
    if (headers.has_transport_header) {
      headers.tcp_flags = net::load<std::uint8_t>(transport, kTcpFlagsOffset);
    }
  }
  state.connections.track(id, headers, transport, is_reply, state.defence.is_secure_tcp());
}

// Starts the idle time anew, or ends what was for this packet only.
void settle(DirectorState& state, ConnectionId id) {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  if ((record.flags & kConnectionOnePacket) == 0) {
    connections.touch(id, state.now);
    return;
  }
  if (record.control != 0) ++connections.at(record.control).packets_in;
  connections.end_one_packet(id, state.now);
}

// The answer of a masqueraded real server.
Verdict answer(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto& record = state.connections.at(id);
  if ((record.flags & kConnectionFtp) != 0) {
    if (auto verdict = ftp_answer(state, context, id)) return *verdict;
  }
  count_out(state, record, context);
  track(state, context, id, true);
  const auto verdict = send_answer(state, context, id);
  settle(state, id);
  return verdict;
}

// An answer without a connection: its server may be told that nobody listens (nat_icmp_send).
Verdict refuse_answer(DirectorState& state, PacketContext& context) {
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

// The answer of a real server on the director itself, reached by direct routing: it leaves as it
// is, but the connection sees it.
bool is_local_answer(DirectorState& state, const PacketContext& context, const Flow& reply,
                     ConnectionId& id) {
  if (!context.is_from_host()) return false;
  id = state.connections.find(reply.protocol, reply.client, reply.virtual_end);
  return id != 0 && state.connections.at(id).method != model::ForwardingMethod::kMasquerade;
}

Verdict note_local_answer(DirectorState& state, PacketContext& context, ConnectionId id) {
  count_out(state, state.connections.at(id), context);
  track(state, context, id, true);
  state.connections.touch(id, state.now);
  return Verdict::host();
}

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
         state.settings.expire_nodest_conn != 0;
}

// The connection of a request that goes on; 0 if the request must open one. In `replaced`, one
// that is to go when that is done.
ConnectionId find_connection(DirectorState& state, const PacketContext& context, const Flow& flow,
                             ConnectionId& replaced) {
  auto& connections = state.connections;
  const auto id = connections.find(flow.protocol, flow.client, flow.virtual_end);
  if (id == 0) return 0;
  const bool gives_way = begins_connection(context) && is_to_be_replaced(state, id);
  if (!gives_way && !is_given_up(state, id)) return id;
  if (!connections.controls_others(id)) {
    connections.retire(id);
    replaced = id;
  }
  return 0;
}

bool is_orphan(DirectorState& state, ConnectionId id) {
  const auto* destination = state.connections.destination(state.connections.at(id));
  return destination != nullptr && !destination->is_available;
}

// What few connections need before a packet is sent on. A verdict if it must not be.
std::optional<Verdict> help(DirectorState& state, PacketContext& context, ConnectionId id) {
  const auto flags = state.connections.at(id).flags;
  if ((flags & kConnectionNoClientPort) != 0) {
    state.connections.learn_client_port(id, context.headers.source_port);
  }
  if ((flags & kConnectionFtp) != 0) return ftp_request(state, context, id);
  return std::nullopt;
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
  settle(state, id);
  return *verdict;
}

Verdict decide(DirectorState& state, PacketContext& context) {
  // Without any service of its family IPVS is off, and connections that are left are nobody's.
  if (!state.services.has(context.headers.family())) return Verdict::host();
  if (is_related_icmp(context.headers)) {
    return forward_icmp_error(state, context).value_or(Verdict::host());
  }
  if (!is_balanced(context.headers.protocol)) return Verdict::host();

  const auto reply = reply_flow(context.headers);
  if (const auto id =
          state.connections.find_reply(reply.protocol, reply.virtual_end, reply.client)) {
    return answer(state, context, id);
  }
  if (ConnectionId id; is_local_answer(state, context, reply, id)) {
    return note_local_answer(state, context, id);
  }
  const bool comes_to_us = is_request(state, context);
  if (!comes_to_us || context.is_from_host()) {
    if (const auto id = open_from_server(state, context, reply)) return answer(state, context, id);
  }
  if (!comes_to_us) return refuse_answer(state, context);
  record_options(context);

  const auto flow = request_flow(context.headers);
  ConnectionId replaced = 0;
  auto id = find_connection(state, context, flow, replaced);
  if (id == 0) {
    const auto scheduled = schedule(state, context, flow, false);
    if (replaced != 0) state.connections.expire_now(replaced, state.now);
    if (scheduled.connection == 0) return scheduled.verdict;
    id = scheduled.connection;
  }
  if (is_orphan(state, id)) return Verdict::drop(DropReason::kDestinationRemoved);
  return forward(state, context, id);
}

Verdict to_verdict(net::ParseError error) {
  switch (error) {
    case net::ParseError::kNotIp:
      return Verdict::host();
    case net::ParseError::kTruncated:
      return Verdict::drop(DropReason::kTruncated);
    case net::ParseError::kBadHeader:
      break;
  }
  return Verdict::drop(DropReason::kBadHeader);
}

// A packet put together in the director's own buffer leaves by the outputs.
Verdict hand_over(net::Packet& packet, const Verdict& verdict, Outputs& outputs) {
  if (verdict.kind == Verdict::Kind::kDrop || verdict.kind == Verdict::Kind::kConsumed) {
    return verdict;
  }
  const auto bytes = packet.bytes();
  const auto room = outputs.reserve(bytes.size());
  if (room.empty()) return Verdict::drop(DropReason::kOutputFull);
  std::copy(bytes.begin(), bytes.end(), room.begin());
  outputs.commit(verdict);
  return Verdict::consumed();
}

// Fragments are balanced as the packet that they make up.
Verdict process_fragment(DirectorState& state, net::Packet& packet, const net::Headers& headers,
                         InterfaceId ingress, Outputs& outputs) {
  const std::span<const std::byte> frame = packet.bytes();
  const auto room = std::span(state.reassembled).subspan(DirectorState::kReassemblyHeadroom);
  const auto outcome = state.reassembler.add(frame, headers, state.now, room);
  state.counters.dropped[static_cast<std::size_t>(DropReason::kFragmentMemory)] += outcome.given_up;
  switch (outcome.kind) {
    case Reassembler::Outcome::Kind::kHeld:
      return Verdict::consumed();
    case Reassembler::Outcome::Kind::kDropped:
      return Verdict::drop(outcome.reason);
    case Reassembler::Outcome::Kind::kComplete:
      break;
  }
  net::Packet whole(state.reassembled, DirectorState::kReassemblyHeadroom, outcome.size);
  whole.mark = packet.mark;
  whole.routed_locally = packet.routed_locally;
  const std::span<const std::byte> bytes = whole.bytes();
  const auto parsed = net::parse_frame(bytes);
  if (!parsed) return to_verdict(parsed.error());
  PacketContext context{whole, *parsed, ingress, outputs, outcome.shape};
  return hand_over(whole, decide(state, context), outputs);
}

Verdict process_one(DirectorState& state, net::Packet& packet, InterfaceId ingress,
                    Outputs& outputs) {
  const std::span<const std::byte> frame = packet.bytes();
  const auto headers = net::parse_frame(frame);
  if (!headers) return to_verdict(headers.error());
  if (headers->is_fragment()) return process_fragment(state, packet, *headers, ingress, outputs);
  PacketContext context{packet, *headers, ingress, outputs, {}};
  return decide(state, context);
}

void estimate(DirectorState& state) {
  if (state.settings.run_estimation == 0) return;
  state.totals.tick();
  for (auto* service : state.services.in_order()) {
    service->statistics.tick();
    for (auto* destination : service->destinations) destination->statistics.tick();
  }
}

void sweep(DirectorState& state) {
  state.destinations.sweep(state.now);
  for (auto* service : state.services.in_order()) {
    if (service->scheduler != nullptr) {
      service->scheduler->sweep(service->context(state.settings, state.now));
    }
  }
}

// Runs `work` once for each interval that has passed since `next`.
template <class Work>
void every(Timestamp& next, Duration interval, Timestamp now, Work work) {
  for (int i = 0; next <= now && i < kMaxTicksAtOnce; ++i) {
    work();
    next = next + interval;
  }
  if (next <= now) next = now + interval;
}

}  // namespace

DirectorState::DirectorState(const DirectorOptions& options_, NetworkView& network_)
    : options(options_),
      network(network_),
      connections(options_.connection_capacity, options_.hash_key, destinations, Timestamp{}),
      reassembler({}, options_.hash_key[0]),
      reassembled(kReassemblyHeadroom + Reassembler::kMaxFrame) {}

Director::Director(const DirectorOptions& options, NetworkView& network)
    : state_(std::make_unique<DirectorState>(options, network)) {}

Director::~Director() = default;

Verdict Director::process(net::Packet& packet, InterfaceId ingress, Timestamp now,
                          Outputs& outputs) noexcept {
  state_->now = now;
  const auto verdict = process_one(*state_, packet, ingress, outputs);
  switch (verdict.kind) {
    case Verdict::Kind::kDrop:
      count_drop(verdict.reason);
      break;
    case Verdict::Kind::kHost:
      ++state_->counters.to_host;
      break;
    case Verdict::Kind::kSend:
    case Verdict::Kind::kResolve:
    case Verdict::Kind::kConsumed:
      ++state_->counters.sent;
      break;
  }
  return verdict;
}

bool Director::advance(Timestamp now, std::size_t budget) noexcept {
  auto& state = *state_;
  state.now = now;
  every(state.next_defence, kDefenceInterval, now, [&] { state.defence.update(state.settings); });
  every(state.next_estimate, kEstimateInterval, now, [&] { estimate(state); });
  every(state.next_sweep, kSweepInterval, now, [&] { sweep(state); });
  state.counters.dropped[static_cast<std::size_t>(DropReason::kFragmentTimeout)] +=
      state.reassembler.expire(now);
  if (state.orphan_cursor != 0) {
    state.orphan_cursor =
        state.connections.expire_orphans(state.orphan_cursor, kOrphanSlotsAtOnce, now);
  }
  return state.connections.expire_due(now, budget) || state.orphan_cursor != 0;
}

Timestamp Director::now() const noexcept { return state_->now; }

void Director::count_drop(DropReason reason) noexcept {
  ++state_->counters.dropped[static_cast<std::size_t>(reason)];
}

}  // namespace lb::engine
