// SPDX-License-Identifier: Apache-2.0
#include "engine/connections.hpp"

#include <algorithm>

#include "engine/director_memory.hpp"
#include "engine/flow/fast_path.hpp"

namespace lb::engine {
namespace {

// The longest timeout that can be set: INT_MAX jiffies at 100 Hz.
constexpr std::uint32_t kLongestTimeout = 0x7fffffff / 100;

// A connection that still controls others when its time is over looks again after this long.
constexpr std::uint32_t kRetrySeconds = 60;

std::int64_t to_ms(Timestamp t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.since_start).count();
}

Timestamp from_ms(std::int64_t ms) { return {std::chrono::milliseconds(ms)}; }

bool is_template(const ConnectionRecord& record) {
  return (record.flags & kConnectionTemplate) != 0;
}

// Endpoints of marks are no addresses; nothing can be steered by them.
// Packets of SNAT are steered by the prefixes of rules, not one by one.
bool is_steerable(const ConnectionRecord& record) {
  return record.protocol != net::Protocol::kIp && !is_template(record) &&
         (record.flags & kConnectionSnat) == 0;
}

bool is_masquerading(const ConnectionRecord& record) {
  return record.method == model::ForwardingMethod::kMasquerade;
}

// Only where addresses are translated is there anything to do for FTP.
bool is_ftp_control(const ConnectionPlan& plan, const ConnectionRecord& record) {
  return plan.protocol == net::Protocol::kTcp && is_masquerading(record) && !is_template(record) &&
         (record.flags & kConnectionSnat) == 0 && plan.virtual_end.port.to_host() == kFtpPort;
}

// A client of a SNAT rule is counted under its address and the number of the rule's account, which
// is free again only when no connection refers to it.
struct ClientKey {
  explicit ClientKey(const Destination& account)
      : protocol(static_cast<net::Protocol>(static_cast<std::uint8_t>(account.id >> 16U))),
        port(net::Port::from_host(static_cast<std::uint16_t>(account.id))) {}
  net::Protocol protocol;
  net::Port port;
};

void update_overload_after_bind(Destination& destination) {
  const auto total = destination.active_connections + destination.inactive_connections;
  if (destination.spec.upper_threshold != 0 && total >= destination.spec.upper_threshold) {
    destination.is_overloaded = true;
  }
}

void update_overload_after_unbind(Destination& destination) {
  const std::uint64_t total =
      std::uint64_t{destination.active_connections} + destination.inactive_connections;
  const std::uint64_t upper = destination.spec.upper_threshold;
  const std::uint64_t lower = destination.spec.lower_threshold;
  if (lower != 0) {
    if (total < lower) destination.is_overloaded = false;
  } else if (upper != 0) {
    if (total * 4 < upper * 3) destination.is_overloaded = false;
  } else {
    destination.is_overloaded = false;
  }
}

}  // namespace

Connections::Connections(std::uint32_t capacity, const std::array<std::uint64_t, 2>& hash_key,
                         DestinationTable& destinations, Timestamp start, BlockHint hint,
                         const DirectorMemory& memory)
    : table_(capacity, hash_key, hint, memory.records),
      timers_(capacity, start, hint),
      virtual_ends_(SteeredEndpoint::Side::kVirtual,
                    capacity + DirectorMemory::kConfiguredEndpoints, hash_key, memory.virtual_ends,
                    memory.virtual_room),
      real_ends_(SteeredEndpoint::Side::kReal, capacity + DirectorMemory::kConfiguredEndpoints,
                 hash_key, memory.real_ends, memory.real_room),
      destinations_(destinations),
      hash_key_(hash_key),
      template_keys_(table_.capacity(), hash_key),
      ftp_sessions_(std::size_t{table_.capacity()} + 1) {}

ConnectionId Connections::open(const ConnectionPlan& plan, Timestamp now) noexcept {
  if (gives_up_half_open_ && table_.size() >= limit()) give_one_up(now);
  const auto id = table_.size() < limit_ ? table_.create() : ConnectionId{0};
  if (id == 0) return 0;
  auto& record = table_.at(id);
  record.client = plan.client.address.bytes();
  record.client_port = plan.client.port;
  record.protocol = plan.protocol;
  record.family = plan.client.address.family();
  record.flags = plan.flags;
  record.method = plan.destination == nullptr ? plan.unbound_method : plan.destination->spec.method;
  record.timeout_s = plan.timeout_s;

  const bool steer = is_steerable(record);
  record.virtual_end =
      virtual_ends_.acquire(plan.protocol, plan.virtual_end.address, plan.virtual_end.port, steer);
  record.real_end = real_ends_.acquire(plan.protocol, plan.real_end.address, plan.real_end.port,
                                       steer && is_masquerading(record));
  const bool has_ends = record.virtual_end != 0 && record.real_end != 0;
  const bool is_keyed = !plan.key_data.empty();
  if (!has_ends || (is_keyed && !template_keys_.add(id, record, plan.key_data))) {
    release_ends(record);
    table_.destroy(id);
    return 0;
  }
  if (is_keyed) record.flags |= kConnectionKeyed;
  if (is_ftp_control(plan, record)) {
    record.flags |= kConnectionFtp;
    ftp_sessions_[id] = {};
  }
  if ((record.flags & kConnectionNoClientPort) != 0) ++without_client_port_;
  if (sync_marks_) {
    (*sync_marks_)[id] = {.told_expiry_ms = to_ms(now), .fwmark = 0, .told_state = 0, .repeats = 0};
  }
  if (plan.destination != nullptr) bind(record, *plan.destination);
  if ((record.flags & kConnectionSnat) != 0) count_snat_client(record);
  if ((record.flags & kConnectionOnePacket) == 0) {
    touch(id, now);
    file(id, now);
  }
  ++created_;
  return id;
}

void Connections::make_room(Timestamp now) noexcept {
  constexpr auto kRetryInterval = std::chrono::seconds(1);
  if (now < next_room_) return;
  const bool has_virtual = virtual_ends_.make_room();
  const bool has_real = real_ends_.make_room();
  if (!has_virtual || !has_real) next_room_ = now + kRetryInterval;
}

void Connections::release_ends(const ConnectionRecord& record) noexcept {
  const bool steer = is_steerable(record);
  virtual_ends_.release(record.virtual_end, steer);
  real_ends_.release(record.real_end, steer && is_masquerading(record));
}

void Connections::file(ConnectionId id, Timestamp now) noexcept {
  const auto& record = table_.at(id);
  if ((record.flags & kConnectionKeyed) != 0) return table_.commit(id);
  const bool has_reply_key = is_masquerading(record) && !is_template(record);
  if (has_reply_key && fast_path_ != nullptr) fast_path_->displace_reply(record, now);
  table_.file(id, has_reply_key);
}

// What a successor can go on with: not what lives on more than the record (conversations with a
// helper, keys of a persistence engine), nor what was being made or taken apart.
bool Connections::is_adoptable(const ConnectionRecord& record) const noexcept {
  constexpr std::uint32_t kNeedsMore = kConnectionOnePacket | kConnectionNoClientPort |
                                       kConnectionFtp | kConnectionKeyed | kConnectionDying |
                                       kConnectionDetached | kConnectionUnbound;
  if ((record.flags & kNeedsMore) != 0 || record.timeout_s > kLongestTimeout) return false;
  const auto states = record.protocol == net::Protocol::kTcp    ? kTcpStateCount
                      : record.protocol == net::Protocol::kSctp ? kSctpStateCount
                                                                : std::size_t{1} << 8U;
  if (record.state >= states) return false;
  if (record.destination == 0) return record.method == model::ForwardingMethod::kBypass;
  if (!destinations_.contains(record.destination)) return false;
  // Connections of a SNAT rule go with it.
  const bool has_rule = destinations_.at(record.destination).snat_slot != 0;
  return has_rule == ((record.flags & kConnectionSnat) != 0);
}

std::size_t Connections::adopt(Timestamp now) noexcept {
  std::size_t lost = 0;
  table_.adopt([&](ConnectionId id) {
    auto& record = table_.at(id);
    const bool steer = is_steerable(record);
    if (!is_adoptable(record) || !virtual_ends_.can_adopt(record.virtual_end) ||
        !real_ends_.can_adopt(record.real_end)) {
      ++lost;
      return false;
    }
    virtual_ends_.adopt(record.virtual_end, steer);
    real_ends_.adopt(record.real_end, steer && is_masquerading(record));
    return true;
  });
  for (ConnectionId id = 1; id < table_.end(); ++id) {
    if (table_.contains(id)) resume(id, now);
  }
  return lost;
}

void Connections::resume(ConnectionId id, Timestamp now) noexcept {
  auto& record = table_.at(id);
  const bool is_held = !is_template(record) && table_.contains(record.control) &&
                       is_template(table_.at(record.control));
  if (is_held) {
    table_.add_controlled(record.control);
  } else {
    record.control = 0;
  }
  if (record.destination != 0) count_bound(record, destinations_.at(record.destination));
  if ((record.flags & kConnectionSnat) != 0) count_snat_client(record);
  table_.file(id, is_masquerading(record) && !is_template(record));
  // A state's longest time: nothing that was left keeps its place for ever.
  const auto latest = to_ms(now) + std::int64_t{record.timeout_s} * 1000;
  record.expires_ms = std::clamp(record.expires_ms, to_ms(now), std::max(latest, to_ms(now)));
  timers_.arm(id, from_ms(record.expires_ms));
  ++created_;
}

void Connections::learn_client_port(ConnectionId id, net::Port port, Timestamp now) noexcept {
  auto& record = table_.at(id);
  if ((record.flags & kConnectionNoClientPort) == 0) return;
  table_.unfile(id);
  record.flags &= ~std::uint32_t{kConnectionNoClientPort};
  record.client_port = port;
  --without_client_port_;
  file(id, now);
}

void Connections::listen(ConnectionId id, Timestamp now) noexcept {
  auto& record = table_.at(id);
  record.state = static_cast<std::uint8_t>(TcpState::kListen);
  record.timeout_s = timeouts_.tcp[record.state];
  touch(id, now);
}

void Connections::set_control(ConnectionId connection, ConnectionId control) noexcept {
  table_.at(connection).control = control;
  table_.add_controlled(control);
}

ConnectionId Connections::find(net::Protocol protocol, const net::Endpoint& client,
                               const net::Endpoint& virtual_end,
                               const Ahead& ahead) const noexcept {
  const auto end = virtual_ends_.find(protocol, virtual_end.address, virtual_end.port);
  if (end == 0) return 0;
  const auto hash = ahead.end != 0 && !ahead.is_answer
                        ? ahead.client_hash
                        : table_.hash(protocol, client.address, client.port);
  const auto id = table_.find(hash, protocol, client.address, client.port, end, false);
  if (id != 0 || without_client_port_ == 0) return id;
  const auto open = table_.find(protocol, client.address, net::Port{}, end, false);
  return open != 0 && (table_.at(open).flags & kConnectionNoClientPort) != 0 ? open : 0;
}

ConnectionId Connections::find_reply(net::Protocol protocol, const net::Endpoint& real_end,
                                     const net::Endpoint& client,
                                     const Ahead& ahead) const noexcept {
  // Whoever is filed for replies has asked to be steered by its real end, but for SNAT.
  const auto end = find_real_end(protocol, real_end);
  if (end == 0) return 0;
  const auto hash = ahead.end != 0 && ahead.is_answer
                        ? ahead.client_hash
                        : table_.hash(protocol, client.address, client.port);
  return table_.find_reply(hash, protocol, client.address, client.port, end);
}

Ahead Connections::look_ahead(net::Protocol protocol, const net::Endpoint& source,
                              const net::Endpoint& destination) const noexcept {
  Ahead ahead{.end = find_real_end(protocol, source)};
  ahead.is_answer = ahead.end != 0;
  if (!ahead.is_answer) {
    ahead.end = virtual_ends_.find(protocol, destination.address, destination.port);
  }
  if (ahead.end == 0) return ahead;
  const auto& client = ahead.is_answer ? destination : source;
  ahead.client_hash = table_.hash(protocol, client.address, client.port);
  table_.prefetch_bucket(ahead.client_hash, ahead.end);
  return ahead;
}

ConnectionId Connections::find_template(net::Protocol protocol, const net::IpAddress& client,
                                        const net::Endpoint& virtual_end,
                                        std::string_view key_data) const noexcept {
  const auto end = virtual_ends_.find(protocol, virtual_end.address, virtual_end.port);
  if (end == 0) return 0;
  if (key_data.empty()) return table_.find(protocol, client, net::Port{}, end, true);
  ConnectionRecord wanted;
  wanted.client = client.bytes();
  wanted.protocol = protocol;
  wanted.family = client.family();
  wanted.virtual_end = end;
  return template_keys_.find(table_, wanted, key_data);
}

// A connection from the sync daemon keeps what it was told of its activity; whether answers pass
// here depends on the destination.
void Connections::bind(ConnectionRecord& record, Destination& destination) noexcept {
  record.destination = destination.id;
  if ((record.flags & kConnectionSynced) == 0 || is_template(record)) {
    record.flags |= kConnectionInactive;
  }
  record.flags &= ~std::uint32_t{kConnectionOneWay};
  if (destination.spec.method != model::ForwardingMethod::kMasquerade) {
    record.flags |= kConnectionOneWay;
  }
  count_bound(record, destination);
}

void Connections::count_bound(const ConnectionRecord& record, Destination& destination) noexcept {
  ++destination.references;
  if (is_template(record)) {
    ++destination.persistent_connections;
  } else if ((record.flags & kConnectionInactive) != 0) {
    ++destination.inactive_connections;
  } else {
    ++destination.active_connections;
  }
  update_overload_after_bind(destination);
}

void Connections::unbind(ConnectionRecord& record) noexcept {
  auto* bound = destination(record);
  if (bound == nullptr) return;
  if (is_template(record)) {
    --bound->persistent_connections;
  } else if ((record.flags & kConnectionInactive) != 0) {
    --bound->inactive_connections;
  } else {
    --bound->active_connections;
  }
  update_overload_after_unbind(*bound);
  --bound->references;
  record.destination = 0;
}

void Connections::bind_late(ConnectionId id, Destination& destination, Timestamp now) noexcept {
  auto& record = table_.at(id);
  const bool is_filed = (record.flags & kConnectionDetached) == 0;
  if (destination.spec.method != record.method) {
    // Whether there is a reply key to be found and steered by depends on the method.
    const bool steer = is_steerable(record);
    const bool will_masquerade = destination.spec.method == model::ForwardingMethod::kMasquerade;
    const auto real = real_ends_.end(record.real_end);
    const auto again =
        real_ends_.acquire(record.protocol, real.address, real.port, steer && will_masquerade);
    if (again == 0) return;
    table_.unfile(id);
    real_ends_.release(record.real_end, steer && is_masquerading(record));
    record.real_end = again;
    record.method = destination.spec.method;
    if (is_filed) file(id, now);
  }
  record.flags &= ~std::uint32_t{kConnectionUnbound};
  bind(record, destination);
}

void Connections::keep_snat_clients() {
  if (!snat_clients_) snat_clients_.emplace(table_.capacity(), hash_key_);
}

std::uint32_t Connections::snat_connections(const net::IpAddress& inside,
                                            const Destination& account) const noexcept {
  const ClientKey key(account);
  const auto id = snat_clients_->find(key.protocol, inside, key.port);
  return id == 0 ? 0 : snat_clients_->at(id).references;
}

void Connections::count_snat_client(const ConnectionRecord& record) noexcept {
  ++snat_count_;
  auto& rule = destinations_.at(record.destination);
  const ClientKey key(rule);
  // There are as many entries as connections.
  const auto id = snat_clients_->acquire(key.protocol, real_end(record).address, key.port);
  if (snat_clients_->at(id).references == 1) ++rule.snat_clients;
}

void Connections::uncount_snat_client(const ConnectionRecord& record) noexcept {
  --snat_count_;
  auto& rule = destinations_.at(record.destination);
  const ClientKey key(rule);
  const auto id = snat_clients_->find(key.protocol, real_end(record).address, key.port);
  if (id != 0 && snat_clients_->release(id)) --rule.snat_clients;
}

void Connections::keep_sync_marks() {
  if (!sync_marks_) sync_marks_.emplace(std::size_t{table_.capacity()} + 1);
}

void Connections::set_activity(ConnectionId id, bool is_active) noexcept {
  auto& record = table_.at(id);
  if (record.destination != 0) {
    count_activity(record, is_active);
  } else if (is_active) {
    record.flags &= ~std::uint32_t{kConnectionInactive};
  } else {
    record.flags |= kConnectionInactive;
  }
}

void Connections::count_activity(ConnectionRecord& record, bool is_active) noexcept {
  auto* bound = destination(record);
  const bool was_active = (record.flags & kConnectionInactive) == 0;
  if (bound == nullptr || was_active == is_active) return;
  if (is_active) {
    ++bound->active_connections;
    --bound->inactive_connections;
  } else {
    --bound->active_connections;
    ++bound->inactive_connections;
  }
  record.flags ^= kConnectionInactive;
}

void Connections::assure_template(const ConnectionRecord& record) noexcept {
  if (record.control == 0) return;
  auto& control = table_.at(record.control);
  if (is_template(control)) control.flags |= kConnectionAssured;
}

void Connections::track(ConnectionId id, const net::Headers& headers,
                        std::span<const std::byte> transport, bool is_reply,
                        bool secure_tcp) noexcept {
  auto& record = table_.at(id);
  auto direction = is_reply ? Direction::kOutput : Direction::kInput;
  if (record.protocol != net::Protocol::kUdp && (record.flags & kConnectionOneWay) != 0) {
    if (is_reply) {
      record.flags &= ~std::uint32_t{kConnectionOneWay};
    } else {
      direction = Direction::kInputOnly;
    }
  }

  switch (record.protocol) {
    case net::Protocol::kTcp: {
      if (!headers.has_transport_header) return;
      const auto next = next_tcp_state(static_cast<TcpState>(record.state), direction,
                                       headers.tcp_flags, secure_tcp);
      if (static_cast<std::uint8_t>(next) != record.state) {
        count_activity(record, is_active(next));
        if (next == TcpState::kEstablished) assure_template(record);
      }
      record.state = static_cast<std::uint8_t>(next);
      record.timeout_s = timeouts_.tcp[record.state];
      break;
    }
    case net::Protocol::kSctp: {
      const auto next = next_sctp_state(static_cast<SctpState>(record.state), direction, transport);
      if (static_cast<std::uint8_t>(next) != record.state) {
        count_activity(record, next == SctpState::kEstablished);
        if (next == SctpState::kEstablished) assure_template(record);
      }
      record.state = static_cast<std::uint8_t>(next);
      record.timeout_s = timeouts_.sctp[record.state];
      break;
    }
    case net::Protocol::kUdp:
      record.timeout_s = timeouts_.udp;
      if (is_reply) assure_template(record);
      break;
    default:
      break;
  }
}

void Connections::go_on(ConnectionId id, TcpState state) noexcept {
  constexpr std::uint32_t kSeveral = 2;
  auto& record = table_.at(id);
  record.packets_in = kSeveral;
  if (record.protocol != net::Protocol::kTcp) {
    record.timeout_s = timeouts_.udp;
    return;
  }
  record.state = static_cast<std::uint8_t>(state);
  record.timeout_s = timeouts_.tcp[record.state];
  count_activity(record, is_active(state));
  if (state == TcpState::kEstablished) assure_template(record);
}

// The wheel hears of a connection only when it could fire too late: at first, and when a state
// with a shorter timeout is entered. Later expiries are found when the timer fires.
void Connections::touch(ConnectionId id, Timestamp now) noexcept {
  auto& record = table_.at(id);
  const auto previous = record.expires_ms;
  record.expires_ms = to_ms(now) + std::int64_t{record.timeout_s} * 1000;
  if (record.committed == 0 || record.expires_ms < previous) {
    timers_.arm(id, from_ms(record.expires_ms));
  }
}

void Connections::expire_now(ConnectionId id, Timestamp now) noexcept {
  if (controls_others(id)) return;
  destroy(id, now);
}

void Connections::seen(ConnectionId id, std::int64_t ms) noexcept {
  auto& record = table_.at(id);
  const auto expires_ms = ms + std::int64_t{record.timeout_s} * 1000;
  record.expires_ms = std::max(record.expires_ms, expires_ms);
}

void Connections::refresh_expiry(ConnectionId id, Timestamp now) noexcept {
  if (fast_path_ != nullptr) fast_path_->refresh_expiry(id, now);
}

void Connections::withdraw(ConnectionId id, Timestamp now) noexcept {
  if (fast_path_ != nullptr) fast_path_->withdraw(id, now);
}

void Connections::retire(ConnectionId id, Timestamp now) noexcept {
  withdraw(id, now);
  table_.unfile(id);
  table_.at(id).flags |= kConnectionDetached;
}

void Connections::invalidate_template(ConnectionId id) noexcept {
  table_.unfile(id);
  template_keys_.unfile(id);
  table_.at(id).flags |= kConnectionDetached;
}

// A parent without children goes with its last child, unless it is a template that some
// connection has proved (assured); only children killed before their time (timeout 0) do this.
void Connections::release_control(ConnectionId id, Timestamp now) noexcept {
  const auto& record = table_.at(id);
  const auto control = record.control;
  if (control == 0) return;
  const bool killed = (record.flags & kConnectionDying) != 0;
  const auto left = table_.remove_controlled(control);
  const auto flags = table_.at(control).flags;
  const bool keep = (flags & kConnectionTemplate) != 0 && (flags & kConnectionAssured) != 0;
  if (killed && left == 0 && !keep) destroy(control, now);
}

void Connections::destroy(ConnectionId id, Timestamp now) noexcept {
  release_control(id, now);
  withdraw(id, now);
  auto& record = table_.at(id);
  timers_.disarm(id);
  if ((record.flags & kConnectionSnat) != 0) uncount_snat_client(record);
  unbind(record);
  table_.unfile(id);
  if ((record.flags & kConnectionKeyed) != 0) template_keys_.remove(id);
  if ((record.flags & kConnectionNoClientPort) != 0) --without_client_port_;
  release_ends(record);
  table_.destroy(id);
  ++expired_;
}

bool Connections::expire_due(Timestamp now, std::size_t budget) noexcept {
  while (budget != 0) {
    const auto id = timers_.next_due(now);
    if (id == 0) return false;
    --budget;
    refresh_expiry(id, now);
    auto& record = table_.at(id);
    if (record.expires_ms > to_ms(now)) {
      timers_.arm(id, from_ms(record.expires_ms));
    } else if (table_.controlled(id) != 0) {
      record.timeout_s = kRetrySeconds;
      record.expires_ms = to_ms(now) + std::int64_t{kRetrySeconds} * 1000;
      timers_.arm(id, from_ms(record.expires_ms));
      if (prolongation_listener_ != nullptr) prolongation_listener_->prolonged(id);
    } else {
      destroy(id, now);
    }
  }
  return true;
}

std::uint32_t Connections::expire_orphans(std::uint32_t cursor, std::uint32_t slots,
                                          Timestamp now) noexcept {
  const auto end = std::min(table_.end(), cursor + slots);
  for (auto id = std::max(cursor, 1U); id < end; ++id) {
    if (!table_.contains(id)) continue;
    auto& record = table_.at(id);
    const auto* bound = destination(record);
    if (bound == nullptr || bound->is_available || bound->drains) continue;
    record.flags |= kConnectionDying;
    const auto control = record.control;
    expire_now(id, now);
    // What held it, though assured: both are of the same destination.
    if (control != 0 && table_.contains(control)) expire_now(control, now);
  }
  return end >= table_.end() ? 0 : end;
}

net::Endpoint Connections::client_end(const ConnectionRecord& record) const noexcept {
  if (record.family == net::Family::kIpv6) {
    return {net::IpAddress::v6(record.client), record.client_port};
  }
  const auto address = net::IpAddress::v6(record.client).word(0);
  return {net::IpAddress::v4(address), record.client_port};
}

std::string_view Connections::state_name(const ConnectionRecord& record) const noexcept {
  if (is_template(record)) {
    return (record.flags & kConnectionAssured) != 0 ? "ASSURED" : "NONE";
  }
  switch (record.protocol) {
    case net::Protocol::kTcp:
      return kTcpStateNames[record.state];
    case net::Protocol::kSctp:
      return kSctpStateNames[record.state];
    case net::Protocol::kUdp:
      return "UDP";
    default:
      return "NONE";
  }
}

}  // namespace lb::engine
