// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/fast_path.hpp"

#include <algorithm>
#include <utility>

#include "engine/cached_route.hpp"
#include "engine/flow/published.hpp"
#include "engine/forward/tunnel.hpp"
#include "engine/service_table.hpp"
#include "engine/state/sctp.hpp"
#include "engine/state/tcp.hpp"

namespace lb::engine {
namespace {

using model::ForwardingMethod;

// With one of these a connection needs more than its plain rewrite, or is about to go.
constexpr std::uint32_t kNotPlain =
    kConnectionTemplate | kConnectionOnePacket | kConnectionNoClientPort | kConnectionDetached |
    kConnectionDying | kConnectionFtp | kConnectionKeyed | kConnectionUnbound;
constexpr std::uint32_t kPublished = kConnectionFastRequest | kConnectionFastReply;
// A datagram alone is no flow: most questions get one answer.
constexpr std::uint32_t kUdpPackets = 2;

bool is_masquerading(const ConnectionRecord& record) noexcept {
  return record.method == ForwardingMethod::kMasquerade;
}

// In these states plain packets change nothing.
bool is_settled(const ConnectionRecord& record) noexcept {
  switch (record.protocol) {
    case net::Protocol::kTcp:
      return record.state == static_cast<std::uint8_t>(TcpState::kEstablished);
    case net::Protocol::kUdp:
      return record.packets_in >= kUdpPackets;
    case net::Protocol::kSctp:
      // The checksum of a translated packet is of all its bytes.
      return record.state == static_cast<std::uint8_t>(SctpState::kEstablished) &&
             !is_masquerading(record);
    default:
      return false;
  }
}

}  // namespace

FastPath::FastPath(const FlowMemory& memory, Connections& connections,
                   DestinationTable& destinations, NetworkView& network, const Settings& settings,
                   RateEstimator& totals, const std::uint64_t& estimation_tick)
    : memory_(memory),
      connections_(connections),
      destinations_(destinations),
      network_(network),
      settings_(settings),
      totals_(totals),
      estimation_tick_(estimation_tick),
      flows_(memory_),
      ends_(memory_),
      hops_(memory_, network),
      targets_(memory.targets.size()),
      counted_(memory.targets.size()) {
  memory_.settings->layout = FLOW_LAYOUT;
  active_.reserve(targets_.size());
  connections_.set_fast_path(this);
}

FastPath::~FastPath() { connections_.set_fast_path(nullptr); }

void FastPath::enable(bool enabled) noexcept {
  is_enabled_ = enabled;
  store_shared<__u32>(memory_.settings->enabled, enabled ? 1 : 0);
}

FastPathStatus FastPath::status() const noexcept {
  return {
      .flows = flows_.size(), .ends = ends_.size(), .refused = refused_, .enabled = is_enabled_};
}

FlowEnd FastPath::virtual_end(const ConnectionRecord& record) const noexcept {
  return {
      .side = FLOW_VIRTUAL, .protocol = record.protocol, .end = connections_.virtual_end(record)};
}

FlowEnd FastPath::real_end(const ConnectionRecord& record) const noexcept {
  return {.side = FLOW_REAL, .protocol = record.protocol, .end = connections_.real_end(record)};
}

bool FastPath::is_plain(ConnectionId id) noexcept {
  const auto& record = connections_.at(id);
  if ((record.flags & kNotPlain) != 0 || !is_settled(record)) return false;
  if (record.timeout_s > kLongestTimeout || record.destination >= targets_.size()) return false;
  const auto* destination = connections_.destination(record);
  if (destination == nullptr || !destination->is_available ||
      !destination->service->spec.persistence_engine.empty()) {
    return false;
  }
  if ((record.flags & kConnectionSnat) != 0) return true;
  const auto real = connections_.real_end(record);
  const auto& spec = destination->spec;
  const auto port = spec.port == net::Port{} ? connections_.virtual_end(record).port : spec.port;
  return record.method == spec.method && real.address == spec.address &&
         (!is_masquerading(record) || real.port == port);
}

/// True if a request of the connection could also be the answer of a server to another one; the
/// engine takes it for that first, XDP would not.
bool FastPath::is_between_servers(const ConnectionRecord& record) const noexcept {
  return connections_.find_reply(record.protocol, connections_.client_end(record),
                                 connections_.virtual_end(record)) != 0;
}

void FastPath::offer(ConnectionId id, bool is_reply, Timestamp now) noexcept {
  if (!is_enabled_ || !is_plain(id)) {
    if ((connections_.at(id).flags & kPublished) != 0) withdraw(id, now);
    return;
  }
  if (is_reply) return offer_reply(id, now);
  offer_request(id, now);
}

void FastPath::offer_request(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  if ((record.flags & kConnectionSnat) != 0) return offer_inward(id, now);
  if ((record.flags & kConnectionFastRequest) != 0) return;
  if (is_between_servers(record)) return;
  const auto end = ends_.acquire(virtual_end(record), now);
  const FlowKey key{.client = connections_.client_end(record).address,
                    .client_port = record.client_port,
                    .end = end};
  const auto words = flow_words(record.destination, 0, 0, flow_age_at(clock(now)));
  if (end == 0 || !flows_.put(key, words)) {
    if (end != 0) ends_.release(end, now);
    ++refused_;
    return;
  }
  record.flags |= kConnectionFastRequest;
  retain_target(*connections_.destination(record), now);
}

/// What goes to one address by a next hop that XDP can send to: nothing if it cannot, or the path
/// is narrower than the link, for that is one address's alone.
std::optional<NextHop> FastPath::plain_hop(const net::IpAddress& address) const noexcept {
  const auto hop = network_.route(address);
  const auto* interface = hop ? network_.interface(hop->out) : nullptr;
  if (interface == nullptr || !hop->resolved || hop->mtu < interface->mtu ||
      network_.is_local(address)) {
    return std::nullopt;
  }
  return hop;
}

/// The flow from outside of a connection of SNAT, which says itself where its packets go.
void FastPath::offer_inward(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  const auto inside = connections_.real_end(record);
  const auto hop = plain_hop(inside.address);
  if ((record.flags & kConnectionFastRequest) != 0) {
    if (hop && hops_.is_for(flow_hop_of(request_words(record)), *hop)) return;
    withdraw_request(record, now);
  }
  if (!hop || is_between_servers(record)) return;
  const auto shown = ends_.acquire(virtual_end(record), now);
  const auto real = ends_.acquire(real_end(record), now);
  const auto way = hops_.acquire(*hop, now);
  const FlowKey key{.client = connections_.client_end(record).address,
                    .client_port = record.client_port,
                    .end = shown};
  const auto words = flow_words(record.destination, way, real, flow_age_at(clock(now)));
  if (shown != 0 && real != 0 && way != 0 && flows_.put(key, words)) {
    record.flags |= kConnectionFastRequest;
    retain_target(*connections_.destination(record), now);
    return;
  }
  if (way != 0) hops_.release(way, now);
  if (real != 0) ends_.release(real, now);
  if (shown != 0) ends_.release(shown, now);
  ++refused_;
}

void FastPath::offer_reply(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  if (!is_masquerading(record)) return;
  const auto client = connections_.client_end(record);
  const auto hop = plain_hop(client.address);
  if (!hop) {
    if ((record.flags & kConnectionFastReply) != 0) withdraw_reply(record, now);
    return;
  }
  if ((record.flags & kConnectionFastReply) != 0) {
    const auto words = reply_words(record);
    const bool is_own = words != 0 && flow_virtual_end_of(words) == ends_.find(virtual_end(record));
    if (is_own && hops_.is_for(flow_hop_of(words), *hop)) return;
    withdraw_reply(record, now);
  }
  if (connections_.find_reply(record.protocol, connections_.real_end(record), client) != id) return;

  const auto real = ends_.acquire(real_end(record), now);
  const auto shown = ends_.acquire(virtual_end(record), now);
  const auto way = hops_.acquire(*hop, now);
  const FlowKey key{.client = client.address, .client_port = client.port, .end = real};
  if (real != 0 && shown != 0 && way != 0) {
    const auto words = flow_words(record.destination, way, shown, flow_age_at(clock(now)));
    if (flows_.put(key, words)) {
      record.flags |= kConnectionFastReply;
      retain_target(*connections_.destination(record), now);
      return;
    }
  }
  if (way != 0) hops_.release(way, now);
  if (shown != 0) ends_.release(shown, now);
  if (real != 0) ends_.release(real, now);
  ++refused_;
}

void FastPath::withdraw(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  refresh_expiry(id, now);
  if ((record.flags & kConnectionFastRequest) != 0) withdraw_request(record, now);
  if ((record.flags & kConnectionFastReply) != 0) withdraw_reply(record, now);
}

void FastPath::withdraw_request(ConnectionRecord& record, Timestamp now) noexcept {
  const auto end = ends_.find(virtual_end(record));
  if ((record.flags & kConnectionSnat) != 0) {
    const auto words = request_words(record);
    ends_.release(flow_virtual_end_of(words), now);
    hops_.release(flow_hop_of(words), now);
  }
  flows_.erase({.client = connections_.client_end(record).address,
                .client_port = record.client_port,
                .end = end});
  ends_.release(end, now);
  release_target(record.destination, now);
  record.flags &= ~std::uint32_t{kConnectionFastRequest};
}

void FastPath::withdraw_reply(ConnectionRecord& record, Timestamp now) noexcept {
  record.flags &= ~std::uint32_t{kConnectionFastReply};
  const auto words = reply_words(record);
  // It may have been displaced, and the place be another's now.
  if (words == 0 || flow_virtual_end_of(words) != ends_.find(virtual_end(record))) return;
  erase_reply(record, words, now);
}

void FastPath::displace_reply(const ConnectionRecord& record, Timestamp now) noexcept {
  const auto words = reply_words(record);
  if (words != 0) erase_reply(record, words, now);
}

/// The words of the flow that answers to `record` would belong to; 0: there is none.
std::uint64_t FastPath::reply_words(const ConnectionRecord& record) const noexcept {
  const auto real = ends_.find(real_end(record));
  if (real == 0) return 0;
  return flows_.find({.client = connections_.client_end(record).address,
                      .client_port = record.client_port,
                      .end = real});
}

/// The words of a published flow from the client.
std::uint64_t FastPath::request_words(const ConnectionRecord& record) const noexcept {
  return flows_.find({.client = connections_.client_end(record).address,
                      .client_port = record.client_port,
                      .end = ends_.find(virtual_end(record))});
}

void FastPath::erase_reply(const ConnectionRecord& record, std::uint64_t words,
                           Timestamp now) noexcept {
  const auto real = ends_.find(real_end(record));
  flows_.erase({.client = connections_.client_end(record).address,
                .client_port = record.client_port,
                .end = real});
  ends_.release(flow_virtual_end_of(words), now);
  ends_.release(real, now);
  hops_.release(flow_hop_of(words), now);
  release_target(flow_target_of(words), now);
}

std::uint64_t FastPath::clock(Timestamp now) const noexcept {
  return static_cast<std::uint64_t>((memory_.time_origin + now.since_start).count());
}

/// The end of the interval that the age of a flow means, but not later than now.
std::int64_t FastPath::last_seen_ms(std::uint64_t words, Timestamp now) const noexcept {
  constexpr std::uint32_t kAges = 0xffff;
  const auto behind = (flow_age_at(clock(now)) - flow_age_of(words)) & kAges;
  // The kernel's coarse clock may be a tick behind or ahead of ours.
  const auto intervals = behind == kAges ? 0 : behind;
  const auto start = (clock(now) >> FLOW_AGE_SHIFT) - intervals;
  const auto end = Duration((start + 1) << FLOW_AGE_SHIFT) - memory_.time_origin;
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::min(end, now.since_start))
      .count();
}

void FastPath::refresh_expiry(ConnectionId id, Timestamp now) noexcept {
  auto& record = connections_.at(id);
  if ((record.flags & kPublished) == 0) return;
  const auto client = connections_.client_end(record);
  std::int64_t seen = 0;
  const auto look = [&](const FlowEnd& end) {
    const auto number = ends_.find(end);
    if (number == 0) return;
    const auto words =
        flows_.find({.client = client.address, .client_port = client.port, .end = number});
    if (words != 0) seen = std::max(seen, last_seen_ms(words, now));
  };
  if ((record.flags & kConnectionFastRequest) != 0) look(virtual_end(record));
  if ((record.flags & kConnectionFastReply) != 0) look(real_end(record));
  connections_.seen(id, seen);
}

void FastPath::retain_target(Destination& destination, Timestamp now) noexcept {
  auto& use = targets_[destination.id];
  if (use.flows++ == 0) {
    use.place = static_cast<std::uint32_t>(active_.size());
    active_.push_back(destination.id);
  }
  follow_network();
  if (use.flows == 1 || use.generation != generation_) write_target(destination, now);
}

void FastPath::release_target(std::uint32_t id, Timestamp now) noexcept {
  auto& use = targets_[id];
  if (--use.flows != 0) return;
  // What packets that are still under way count is added when it is in use again.
  count(destinations_.at(id));
  active_[use.place] = active_.back();
  targets_[active_[use.place]].place = use.place;
  active_.pop_back();
  if (use.hop != 0) hops_.release(use.hop, now);
  use.hop = 0;
  use.generation = 0;
  change_shared(memory_.targets[id], [](flow_target& entry) { entry.method = FLOW_PUNT; });
}

void FastPath::destination_changed(Destination& destination, Timestamp now) noexcept {
  if (destination.id >= targets_.size()) return;
  count(destination);
  if (targets_[destination.id].flows != 0) write_target(destination, now);
}

void FastPath::write_target(Destination& destination, Timestamp now) noexcept {
  auto& use = targets_[destination.id];
  std::uint32_t hop = 0;
  auto fresh = describe(destination, hop, now);
  use.generation = generation_;
  auto& entry = memory_.targets[destination.id];
  change_shared(entry, [&](flow_target& place) {
    fresh.sequence = place.sequence;
    place = fresh;
  });
  if (use.hop != 0) hops_.release(use.hop, now);
  use.hop = hop;
}

/// How packets get to a destination now; FLOW_PUNT if only the engine knows. `hop` gets the number
/// of the next hop, with a reference.
flow_target FastPath::describe(Destination& destination, std::uint32_t& hop,
                               Timestamp now) noexcept {
  flow_target punt{};
  if (!destination.is_available) return punt;
  if (destination.snat_slot != 0) {
    flow_target account{};
    account.method = FLOW_SNAT;
    return account;
  }
  const auto& spec = destination.spec;
  // Not kept: an error about a tunnel packet tells the MTU that the engine's own packets met last.
  const auto route = destination.route.generation == network_.generation()
                         ? destination.route
                         : look_up_route(network_, destination.spec.address);
  flow_target target{};
  target.port = spec.port.to_network();
  target.family = static_cast<std::uint8_t>(spec.address.family());
  std::copy(spec.address.bytes().begin(), spec.address.bytes().end(), target.address);
  std::uint32_t overhead = 0;
  switch (spec.method) {
    case ForwardingMethod::kMasquerade:
      if (route.is_local && spec.address.is_loopback()) return punt;
      target.method = FLOW_MASQUERADE;
      break;
    case ForwardingMethod::kDirectRoute:
      target.method = FLOW_DIRECT;
      break;
    case ForwardingMethod::kTunnel:
      target.method = FLOW_TUNNEL;
      // A checksum over the payload is not for XDP.
      if (spec.tunnel.type != model::TunnelType::kIpip &&
          spec.tunnel.flags != model::kTunnelNoChecksum) {
        return punt;
      }
      if (!route.is_local && route.source.family() != spec.address.family()) return punt;
      target.tunnel = static_cast<std::uint8_t>(spec.tunnel.type);
      target.tunnel_port = spec.tunnel.port.to_network();
      std::copy(route.source.bytes().begin(), route.source.bytes().end(), target.source);
      overhead = static_cast<std::uint32_t>(tunnel_overhead(spec.tunnel, spec.address.family()));
      if (settings_.pmtu_disc != 0) target.flags |= FLOW_TARGET_COPY_DF;
      break;
    default:
      return punt;
  }
  if (route.is_local) {
    target.flags |= FLOW_TARGET_LOCAL;
    target.mtu = 0xffff;
    return target;
  }
  if (!route.has_route || !route.hop.resolved || route.hop.mtu <= overhead) return punt;
  hop = hops_.acquire(route.hop, now);
  if (hop == 0) return punt;
  target.hop = static_cast<std::uint16_t>(hop);
  target.mtu =
      static_cast<std::uint16_t>(std::min<std::uint32_t>(route.hop.mtu - overhead, 0xffff));
  return target;
}

void FastPath::count(Destination& destination) noexcept {
  const auto id = destination.id;
  if (id >= targets_.size()) return;
  flow_counters sum{};
  const auto stride = memory_.targets.size();
  for (std::size_t at = id; at < memory_.counters.size(); at += stride) {
    const auto& cpu = memory_.counters[at];
    sum.packets_in += load_shared(cpu.packets_in);
    sum.bytes_in += load_shared(cpu.bytes_in);
    sum.packets_out += load_shared(cpu.packets_out);
    sum.bytes_out += load_shared(cpu.bytes_out);
  }
  auto& old = counted_[id];
  model::Counters fresh{.packets_in = sum.packets_in - old.packets_in,
                        .packets_out = sum.packets_out - old.packets_out,
                        .bytes_in = sum.bytes_in - old.bytes_in,
                        .bytes_out = sum.bytes_out - old.bytes_out};
  // Of SNAT "in" is what inside hosts send, which XDP counts as answers.
  if (destination.snat_slot != 0) {
    std::swap(fresh.packets_in, fresh.packets_out);
    std::swap(fresh.bytes_in, fresh.bytes_out);
  }
  if (destination.is_available) {
    for (auto* statistics : {&destination.statistics, &destination.service->statistics, &totals_}) {
      auto& counters = statistics->counters(estimation_tick_);
      counters.packets_in += fresh.packets_in;
      counters.bytes_in += fresh.bytes_in;
      counters.packets_out += fresh.packets_out;
      counters.bytes_out += fresh.bytes_out;
    }
  }
  old = sum;
}

void FastPath::count_all() noexcept {
  for (const auto id : active_) count(destinations_.at(id));
}

void FastPath::follow_network() noexcept {
  if (network_generation_ == network_.generation()) return;
  network_generation_ = network_.generation();
  ++generation_;
  hops_.refresh();
}

void FastPath::be_alive(Timestamp now) noexcept {
  if (load_shared(memory_.settings->alive) != second(now)) {
    store_shared<__u64>(memory_.settings->alive, second(now));
  }
}

bool FastPath::advance(Timestamp now) noexcept {
  constexpr std::size_t kDestinationsAtOnce = 256;
  constexpr Duration kInterval = std::chrono::milliseconds(5);
  be_alive(now);
  follow_network();
  if (seen_generation_ != generation_) {
    seen_generation_ = generation_;
    outdated_ = active_.size();
  }
  // After a change all of them, at once; else a piece now and then: there may be ten turns in a
  // millisecond.
  if (outdated_ == 0 && now < next_piece_) return false;
  next_piece_ = now + kInterval;
  const auto piece = std::min(active_.size(), kDestinationsAtOnce);
  for (std::size_t i = 0; i < piece; ++i) {
    cursor_ = cursor_ + 1 < active_.size() ? cursor_ + 1 : 0;
    auto& destination = destinations_.at(active_[cursor_]);
    count(destination);
    if (targets_[destination.id].generation != generation_) write_target(destination, now);
  }
  outdated_ -= std::min(std::max<std::size_t>(piece, 1), outdated_);
  return outdated_ != 0;
}

}  // namespace lb::engine
