// SPDX-License-Identifier: Apache-2.0
#include "engine/director.hpp"

#include <algorithm>

#include "engine/answers.hpp"
#include "engine/director_state.hpp"
#include "engine/forward/icmp_related.hpp"
#include "engine/packet_context.hpp"
#include "engine/related_icmp.hpp"
#include "engine/requests.hpp"
#include "engine/snat_path.hpp"

namespace lb::engine {
namespace {

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
bool is_for_director(const DirectorState& state, const PacketContext& context) {
  return context.is_from_host() || context.packet.routed_locally ||
         state.network.is_local(context.headers.destination);
}

// The way of one packet.
Verdict decide(DirectorState& state, PacketContext& context) {
  if (is_related_icmp(context.headers)) {
    return forward_icmp_error(state, context).value_or(Verdict::host());
  }
  if (!is_balanced(context.headers.protocol)) {
    if (state.snat.rules.size() == 0) return Verdict::host();
    return forward_snat_echo(state, context).value_or(Verdict::host());
  }
  if (const auto verdict = forward_answer(state, context)) return *verdict;
  if (!is_for_director(state, context)) return forward_unsolicited(state, context);
  return forward_request(state, context);
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
  auto parsed = net::parse_frame(bytes);
  if (!parsed) return to_verdict(parsed.error());
  PacketContext context{whole, *parsed, ingress, outputs, outcome.shape};
  return hand_over(whole, decide(state, context), outputs);
}

Verdict process_one(DirectorState& state, net::Packet& packet, net::Parsed& headers,
                    InterfaceId ingress, Outputs& outputs, const Ahead& ahead) {
  if (!headers) return to_verdict(headers.error());
  // Without any service of its family IPVS is off, and connections that are left are nobody's.
  const auto family = headers->family();
  if (!state.services.has(family) && !state.snat.rules.has(family)) return Verdict::host();
  if (headers->is_fragment()) return process_fragment(state, packet, *headers, ingress, outputs);
  PacketContext context{packet, *headers, ingress, outputs, {}, ahead};
  return decide(state, context);
}

Verdict count(DirectorCounters& counters, const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kDrop:
      ++counters.dropped[static_cast<std::size_t>(verdict.reason)];
      break;
    case Verdict::Kind::kHost:
      ++counters.to_host;
      break;
    case Verdict::Kind::kSend:
    case Verdict::Kind::kResolve:
    case Verdict::Kind::kConsumed:
      ++counters.sent;
      break;
  }
  return verdict;
}

}  // namespace

DirectorState::DirectorState(const DirectorOptions& options_, NetworkView& network_)
    : options(options_),
      network(network_),
      connections(options_.connection_capacity, options_.hash_key, destinations, Timestamp{},
                  options_.block_hint, options_.memory),
      saved(options_.memory),
      reassembler({}, options_.hash_key[0]),
      reassembled(kReassemblyHeadroom + Reassembler::kMaxFrame) {}

Director::Director(const DirectorOptions& options, NetworkView& network)
    : state_(std::make_unique<DirectorState>(options, network)) {}

Director::~Director() = default;

Verdict Director::process(net::Packet& packet, InterfaceId ingress, Timestamp now,
                          Outputs& outputs) noexcept {
  state_->now = now;
  const std::span<const std::byte> frame = packet.bytes();
  auto headers = net::parse_frame(frame);
  return count(state_->counters, process_one(*state_, packet, headers, ingress, outputs, {}));
}

void Director::prepare(std::span<BurstPacket> burst) const noexcept {
  for (auto& each : burst) __builtin_prefetch(each.packet.bytes().data(), 1);
  for (auto& each : burst) {
    const std::span<const std::byte> frame = each.packet.bytes();
    each.headers = net::parse_frame(frame);
    each.ahead = {};
    if (!each.headers || !is_balanced(each.headers->protocol)) continue;
    const auto flow = request_flow(*each.headers);
    each.ahead = state_->connections.look_ahead(flow.protocol, flow.client, flow.virtual_end);
  }
  for (const auto& each : burst) state_->connections.load_record(each.ahead);
}

Verdict Director::process(BurstPacket& burst_packet, Timestamp now, Outputs& outputs) noexcept {
  state_->now = now;
  return count(state_->counters, process_one(*state_, burst_packet.packet, burst_packet.headers,
                                             burst_packet.ingress, outputs, burst_packet.ahead));
}

Timestamp Director::now() const noexcept { return state_->now; }

void Director::count_drop(DropReason reason) noexcept {
  ++state_->counters.dropped[static_cast<std::size_t>(reason)];
}

}  // namespace lb::engine
