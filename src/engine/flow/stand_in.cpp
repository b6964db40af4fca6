// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/stand_in.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

#include "engine/flow/published.hpp"
#include "engine/ftp_session.hpp"

namespace lb::engine {
namespace {

using model::ForwardingMethod;

// Changes of a configuration come in bursts; a table is made when its service has been waiting for
// this long.
constexpr Duration kCollect = std::chrono::milliseconds(50);
constexpr std::size_t kTablesAtOnce = 16;
// So long after XDP decided last it is said to be deciding still.
constexpr std::uint64_t kActiveSeconds = 3;

auto order(const FlowEnd& end) noexcept {
  return std::tuple(end.protocol, end.end.address, end.end.port.to_host());
}

bool is_masquerading(const Destination& destination) noexcept {
  return destination.spec.method == ForwardingMethod::kMasquerade;
}

// Whether XDP can tell such a service's packets, and all that it needs is a destination.
bool is_suitable(const Service& service) noexcept {
  const auto& key = service.key();
  const bool has_ports = key.protocol == net::Protocol::kTcp || key.protocol == net::Protocol::kUdp;
  return key.fwmark == 0 && key.port != net::Port{} && has_ports && service.scheduler != nullptr &&
         service.spec.persistence_engine.empty();
}

std::uint32_t flags_of(const Service& service) noexcept {
  // Clients of these schedulers count on it, too.
  const auto name = service.spec.scheduler.view();
  const bool by_address = service.is_persistent() || name == "sh" || name == "mh";
  return (by_address ? std::uint32_t{STAND_IN_BY_ADDRESS} : 0U) |
         (service.is_one_packet(service.key().protocol) ? std::uint32_t{STAND_IN_ONE_PACKET} : 0U);
}

FlowEnd virtual_end_of(const Service& service) noexcept {
  return {.side = FLOW_VIRTUAL,
          .protocol = service.key().protocol,
          .end = {service.key().address, service.key().port}};
}

FlowEnd real_end_of(const Service& service, const Destination& destination) noexcept {
  const auto& spec = destination.spec;
  return {.side = FLOW_REAL,
          .protocol = service.key().protocol,
          .end = {spec.address, spec.port == net::Port{} ? service.key().port : spec.port}};
}

// All real endpoints that answers of the service may come from. Port 0: any.
std::vector<FlowEnd> real_ends_of(const Service& service) {
  std::vector<FlowEnd> ends;
  for (const auto* destination : service.destinations) {
    if (!is_masquerading(*destination)) continue;
    auto end = real_end_of(service, *destination);
    ends.push_back(end);
    if (service.key().fwmark == 0) continue;
    end.protocol = net::Protocol::kUdp;  // a mark is of any protocol; its key says TCP
    ends.push_back(end);
  }
  std::sort(ends.begin(), ends.end(),
            [](const auto& a, const auto& b) { return order(a) < order(b); });
  ends.erase(std::unique(ends.begin(), ends.end(),
                         [](const auto& a, const auto& b) { return order(a) == order(b); }),
             ends.end());
  return ends;
}

// The same for the same server in every director.
std::uint64_t seed_of(const Destination& destination) noexcept {
  const auto words = halves(destination.spec.address);
  const auto port = destination.spec.port.to_host();
  return flow_mix(words[0], flow_mix(words[1] ^ port, 0x736c75696365));
}

// A table is many times as large as its servers are many, so that shares are near the weights.
std::uint32_t size_for(std::size_t destinations) noexcept {
  if (destinations == 1) return 1;
  if (destinations <= 2) return 61;
  if (destinations <= 12) return 251;
  return destinations <= 60 ? 1021 : 4093;
}

}  // namespace

std::size_t StandIn::RealHash::operator()(const FlowEnd& end) const noexcept {
  const auto words = halves(end.end.address);
  return flow_mix(words[0] ^ end.end.port.to_host(),
                  words[1] ^ static_cast<std::uint64_t>(end.protocol));
}

bool StandIn::RealEqual::operator()(const FlowEnd& a, const FlowEnd& b) const noexcept {
  return order(a) == order(b);
}

StandIn::StandIn(const FlowMemory& memory, FastPath& fast_path, DestinationTable& destinations,
                 ServiceTable& services, const NetworkView& network)
    : memory_(memory),
      fast_path_(fast_path),
      destinations_(destinations),
      services_(services),
      network_(network),
      pool_(static_cast<std::uint32_t>(memory.slots.size() * 2)) {
  memory_.control->notes = static_cast<std::uint32_t>(memory.notes.size());
}

StandIn::~StandIn() {
  // XDP goes on by what is published.
  for (const auto& service : services_.all()) service->stand_in = {};
}

Service* StandIn::find_service(std::uint64_t serial) const noexcept {
  const auto all = services_.all();
  const auto place =
      std::lower_bound(all.begin(), all.end(), serial,
                       [](const auto& each, std::uint64_t key) { return each->serial < key; });
  return place != all.end() && (*place)->serial == serial ? place->get() : nullptr;
}

void StandIn::wait(Service& service, Timestamp now) {
  if (service.stand_in.is_waiting) return;
  service.stand_in.is_waiting = true;
  waiting_.push_back({.serial = service.serial, .since = now});
}

void StandIn::changed(Service& service, Timestamp now) { wait(service, now); }

void StandIn::wake(std::uint64_t serial, Timestamp now) {
  if (auto* service = find_service(serial)) wait(*service, now);
}

void StandIn::gone(Service& service, Timestamp now) {
  withdraw(service, now);
  count_real_ends(service, {}, now);
}

bool StandIn::publish_due(Timestamp now) {
  for (std::size_t i = 0; i < kTablesAtOnce && !waiting_.empty(); ++i) {
    if (now - waiting_.front().since < kCollect) return false;
    const auto serial = waiting_.front().serial;
    waiting_.pop_front();
    if (auto* service = find_service(serial)) publish(*service, now);
  }
  return !waiting_.empty() && now - waiting_.front().since >= kCollect;
}

void StandIn::change_use(const FlowEnd& end, const Service& service, bool is_added, Timestamp now) {
  auto& use = real_uses_[end];
  const auto before = use.services;
  use.services += is_added ? 1U : ~0U;
  use.serials ^= service.serial;
  const auto other = is_added ? use.serials ^ service.serial : use.serials;
  const bool was_or_is_only = (is_added && before == 1) || (!is_added && before == 2);
  if (use.services == 0) real_uses_.erase(end);
  if (was_or_is_only) wake(other, now);
  // All ports of the server: nobody's answers can be told from those of the others any more.
  if (end.end.port == net::Port{} && before + (is_added ? 1U : 0U) == 1) {
    for (const auto& each : services_.all()) wait(*each, now);
  }
}

void StandIn::count_real_ends(Service& service, std::vector<FlowEnd> fresh, Timestamp now) {
  const auto old = std::exchange(service.stand_in.real_ends, fresh);
  const auto is_before = [](const auto& a, const auto& b) { return order(a) < order(b); };
  std::vector<FlowEnd> difference;
  std::set_difference(fresh.begin(), fresh.end(), old.begin(), old.end(),
                      std::back_inserter(difference), is_before);
  for (const auto& end : difference) change_use(end, service, true, now);
  difference.clear();
  std::set_difference(old.begin(), old.end(), fresh.begin(), fresh.end(),
                      std::back_inserter(difference), is_before);
  for (const auto& end : difference) change_use(end, service, false, now);
}

bool StandIn::is_only_of(const FlowEnd& real) const noexcept {
  const auto own = real_uses_.find(real);
  auto any = real;
  any.end.port = net::Port{};
  return own != real_uses_.end() && own->second.services == 1 && !real_uses_.contains(any);
}

std::vector<TableClaimant> StandIn::claimants_of(const Service& service) const {
  std::vector<TableClaimant> claimants;
  if (!is_suitable(service)) return claimants;
  const bool is_ftp =
      service.key().protocol == net::Protocol::kTcp && service.key().port.to_host() == kFtpPort;
  for (const auto* destination : service.destinations) {
    const auto& spec = destination->spec;
    if (spec.weight <= 0 || !fast_path_.can_hold(destination->id) ||
        network_.is_local(spec.address)) {
      continue;
    }
    const bool has_checksum = spec.method == ForwardingMethod::kTunnel &&
                              spec.tunnel.type != model::TunnelType::kIpip &&
                              spec.tunnel.flags != model::kTunnelNoChecksum;
    const bool is_nat = is_masquerading(*destination);
    if (has_checksum || (is_nat && (is_ftp || !is_only_of(real_end_of(service, *destination))))) {
      continue;
    }
    claimants.push_back(
        {.destination = destination->id, .weight = spec.weight, .seed = seed_of(*destination)});
  }
  return claimants;
}

/// Writes a table into slots of its own, unless it would be the same. Size 0: there is no room.
SlotPool::Run StandIn::write_table(const StandInTable& table, std::vector<TableClaimant> claimants,
                                   Timestamp now) {
  const auto count = claimants.size();
  const auto wanted = size_for(count);
  for (auto size = SlotPool::kSizes.rbegin(); size != SlotPool::kSizes.rend(); ++size) {
    if (*size > wanted || *size < count) continue;
    std::vector<std::uint32_t> fresh(*size);
    fill_table(fresh, claimants);
    if (fresh == read_run(table.run)) return table.run;
    const auto run = pool_.take(*size, now);
    for (std::uint32_t i = 0; i < run.size; ++i) store_shared<__u32>(slot(run.first + i), fresh[i]);
    if (run.size != 0) return run;
  }
  return {};
}

void StandIn::hold_members(Service& service, std::span<const TableClaimant> claimants,
                           Timestamp now) {
  auto& table = service.stand_in;
  std::vector<StandInTable::Member> members;
  for (const auto& claimant : claimants) {
    auto& destination = destinations_.at(claimant.destination);
    fast_path_.retain_target(destination, now);
    StandInTable::Member member{.destination = claimant.destination};
    if (is_masquerading(destination)) {
      member.real_end = fast_path_.ends().acquire(real_end_of(service, destination), now);
    }
    members.push_back(member);
  }
  const auto old = std::exchange(table.members, std::move(members));
  release_members(old, now);
  for (const auto& member : table.members) {
    if (member.real_end == 0) continue;
    store_shared<__u64>(memory_.stand_in_ends[member.real_end].word,
                        stand_in_real(table.end, member.destination));
  }
}

void StandIn::release_members(std::span<const StandInTable::Member> members, Timestamp now) {
  for (const auto& member : members) {
    if (member.real_end != 0) {
      store_shared<__u64>(memory_.stand_in_ends[member.real_end].word, 0);
      fast_path_.ends().release(member.real_end, now);
    }
    fast_path_.release_target(member.destination, now);
  }
}

/// Remembers the table that is about to go, for flows that went by it and were not noted.
void StandIn::keep_previous(StandInTable& table, Timestamp now) {
  const auto used = load_shared(memory_.control->unnoted);
  const bool is_used =
      used != 0 && used >= table.published_at && fast_path_.second(now) - used < timeout_;
  if (!is_used || table.run.size == 0) return;
  table.previous = read_run(table.run);
  table.previous_used = used;
}

void StandIn::publish(Service& service, Timestamp now) {
  auto& table = service.stand_in;
  table.is_waiting = false;
  count_real_ends(service, real_ends_of(service), now);
  const auto claimants = claimants_of(service);
  refused_ -= table.is_refused ? 1 : 0;
  table.is_refused = false;
  if (claimants.empty()) return withdraw(service, now);
  const auto run = write_table(table, claimants, now);
  if (run.size != 0 && table.end == 0) {
    table.end = fast_path_.ends().acquire(virtual_end_of(service), now);
  }
  if (run.size == 0 || table.end == 0) {
    if (run.first != table.run.first) pool_.give(run, now);
    table.is_refused = true;
    ++refused_;
    return withdraw(service, now);
  }
  const bool is_new_run = run.first != table.run.first || run.size != table.run.size;
  if (is_new_run) keep_previous(table, now);
  hold_members(service, claimants, now);
  const auto word = stand_in_virtual(run.first, run.size, flags_of(service));
  store_shared<__u64>(memory_.stand_in_ends[table.end].word, word);
  if (table.word == 0) ++tables_;
  table.word = word;
  if (!is_new_run) return;
  pool_.give(table.run, now);
  table.run = run;
  table.published_at = fast_path_.second(now);
}

void StandIn::withdraw(Service& service, Timestamp now) {
  auto& table = service.stand_in;
  if (table.end != 0) {
    store_shared<__u64>(memory_.stand_in_ends[table.end].word, 0);
    fast_path_.ends().release(table.end, now);
  }
  release_members(table.members, now);
  pool_.give(table.run, now);
  tables_ -= table.word != 0 ? 1 : 0;
  table.members.clear();
  table.run = {};
  table.end = 0;
  table.word = 0;
}

void StandIn::adopt(Timestamp now) {
  std::vector<SlotPool::Run> runs;
  const auto run_of = [this](const Service& service) -> SlotPool::Run {
    const auto end = fast_path_.ends().find(virtual_end_of(service));
    const auto word = end == 0 ? 0 : memory_.stand_in_ends[end].word;
    if (stand_in_kind_of(word) != STAND_IN_VIRTUAL) return {};
    return {.first = stand_in_first_of(word), .size = stand_in_slots_of(word)};
  };
  for (const auto& service : services_.all()) runs.push_back(run_of(*service));
  auto kept = pool_.adopt(runs);
  std::vector<bool> is_ours(memory_.stand_in_ends.size());
  // Whose real endpoint is whose must be known of all before any table is made.
  for (const auto& service : services_.all()) {
    count_real_ends(*service, real_ends_of(*service), now);
  }
  for (const auto& service : services_.all()) {
    const auto run = run_of(*service);
    const auto place = std::find_if(kept.begin(), kept.end(), [&](const auto& each) {
      return run.size != 0 && each.first == run.first && each.size == run.size;
    });
    if (place != kept.end()) {
      service->stand_in.run = run;
      *place = {};
    }
    publish(*service, now);
    is_ours[service->stand_in.end] = true;
    for (const auto& member : service->stand_in.members) is_ours[member.real_end] = true;
  }
  for (std::size_t end = 1; end < memory_.stand_in_ends.size(); ++end) {
    auto& word = memory_.stand_in_ends[end].word;
    if (!is_ours[end] && word != 0) store_shared<__u64>(word, 0);
  }
}

void StandIn::set_limits(std::int32_t flows_per_second, std::uint32_t established_s, bool is_full,
                         Timestamp now) noexcept {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  auto& control = *memory_.control;
  const auto flows = static_cast<std::uint64_t>(std::max(flows_per_second, 1));
  const auto interval = std::clamp<std::uint64_t>(kSecond * memory_.lanes / flows, 1, UINT32_MAX);
  store_shared<__u32>(control.interval, flows_per_second <= 0 ? 0 : static_cast<__u32>(interval));
  timeout_ = (established_s * kSecond >> FLOW_ALIVE_SHIFT) + 1;
  store_shared<__u32>(control.timeout, static_cast<__u32>(timeout_));
  store_shared<__u32>(control.is_full, is_full ? 1 : 0);
  const auto used = load_shared(control.stood_in);
  const bool is_active = used != 0 && fast_path_.second(now) <= used + kActiveSeconds;
  if (is_active && !is_active_) ++times_;
  is_active_ = is_active;
}

void StandIn::set_port(std::uint16_t device, InterfaceId interface, bool by_redirect) noexcept {
  store_shared<__u32>(memory_.ports[device].by_redirect, by_redirect ? 1 : 0);
  store_shared<__u32>(memory_.ports[device].ifindex, static_cast<__u32>(interface));
}

void StandIn::remove_port(InterfaceId interface) noexcept {
  for (auto& port : memory_.ports) {
    if (port.ifindex == static_cast<__u32>(interface)) store_shared<__u32>(port.ifindex, 0);
  }
}

std::vector<std::uint32_t> StandIn::read_run(const SlotPool::Run& run) const {
  std::vector<std::uint32_t> targets;
  for (std::uint32_t i = 0; i < run.size; ++i) targets.push_back(slot(run.first + i));
  return targets;
}

Destination* StandIn::destination_of(std::uint32_t target) const noexcept {
  if (!destinations_.contains(target)) return nullptr;
  auto& destination = destinations_.at(target);
  return destination.is_available ? &destination : nullptr;
}

std::uint32_t StandIn::slot_of(const Service& service, const net::Endpoint& client,
                               std::size_t slots) const noexcept {
  const auto words = halves(client.address);
  const __u64 address[2] = {words[0], words[1]};
  return stand_in_choice(memory_.settings, address, client.port.to_network(), flags_of(service),
                         static_cast<__u32>(slots));
}

Destination* StandIn::choose(const Service& service, const net::Endpoint& client) noexcept {
  const auto& table = service.stand_in;
  if (table.word == 0) return nullptr;
  return destination_of(slot(table.run.first + slot_of(service, client, table.run.size)));
}

Destination* StandIn::choose_for_stray(const Service& service, const net::Endpoint& client,
                                       Timestamp now) noexcept {
  const auto& table = service.stand_in;
  const auto used = load_shared(memory_.control->unnoted);
  if (!table.previous.empty() && used < table.published_at) {
    if (fast_path_.second(now) - table.previous_used >= timeout_) return nullptr;
    return destination_of(table.previous[slot_of(service, client, table.previous.size())]);
  }
  if (used == 0 || fast_path_.second(now) - used >= timeout_) return nullptr;
  return choose(service, client);
}

bool StandIn::has_decided(std::uint32_t seconds, Timestamp now) const noexcept {
  const auto used = load_shared(memory_.control->unnoted);
  const auto limit = (seconds * std::uint64_t{1'000'000'000} >> FLOW_ALIVE_SHIFT) + 1;
  return used != 0 && fast_path_.second(now) <= used + limit;
}

std::optional<FlowEnd> StandIn::answers_as(const FlowEnd& real, Timestamp now) noexcept {
  const auto used = load_shared(memory_.control->stood_in);
  if (used == 0 || fast_path_.second(now) > used + timeout_) return std::nullopt;
  const auto number = fast_path_.ends().find(real);
  const auto word = number == 0 ? 0 : memory_.stand_in_ends[number].word;
  if (stand_in_kind_of(word) != STAND_IN_REAL) return std::nullopt;
  return fast_path_.ends().describe(stand_in_virtual_end_of(word));
}

StandInStatus StandIn::status() const noexcept {
  return {.tables = tables_,
          .refused = refused_,
          .slots_used = pool_.used(),
          .slots = pool_.slots(),
          .is_active = is_active_,
          .is_table_full = load_shared(memory_.control->is_full) != 0,
          .times = times_,
          .noted = noted(),
          .full = load_shared(memory_.control->full),
          .adopted = adopted_,
          .lost = lost_};
}

}  // namespace lb::engine
