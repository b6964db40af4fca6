// SPDX-License-Identifier: Apache-2.0
#include "engine/removal.hpp"

#include <algorithm>
#include <cerrno>

#include "engine/director_marks.hpp"
#include "engine/director_state.hpp"
#include "engine/forward/tcp_segment.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

/// Selections that wait at a time.
constexpr std::size_t kMaxJobs = 64;
/// Records looked at by one call of `end_due`, some tens of microseconds if each is chosen:
/// packets wait meanwhile.
constexpr std::uint32_t kSlotsAtOnce = 512;
/// Largest timeout that the director takes; see `Director::set_timeouts`.
constexpr std::uint32_t kMaxTimeout = 0x7fffffff / 100;
constexpr std::size_t kTcpAcknowledgement = 8;

/// The options of a service, completed by the settings.
struct Policy {
  std::int32_t drain;
  model::DrainEnd end;
  bool reuse_ports;
};

Policy policy_of(const Settings& settings, const model::ServiceOptions& options) noexcept {
  return {.drain = options.drain.value_or(settings.drain),
          .end = options.drain_end.value_or(static_cast<model::DrainEnd>(settings.drain_end)),
          .reuse_ports = options.reuse_ports.value_or(settings.reuse_ports != 0)};
}

bool has_timeouts(const model::ServiceOptions& options) noexcept {
  return options.timeouts != model::Timeouts();
}

/// Keeps count of services by what they have; where there is none, packets pay nothing.
void count(Removal& removal, const model::ServiceOptions& options, std::uint32_t change) noexcept {
  if (has_timeouts(options)) removal.services_with_timeouts += change;
  if (options.drain_end == model::DrainEnd::kReset) removal.services_with_reset += change;
}
constexpr std::uint32_t kOneMore = 1;
constexpr std::uint32_t kOneLess = ~std::uint32_t{0};

bool has_client_state(TcpState state) noexcept {
  return state != TcpState::kTimeWait && state != TcpState::kClose && state != TcpState::kListen;
}

bool matches(const DirectorState& state, const EndingJob& job, const ConnectionRecord& record) {
  if (job.destination != 0) return record.destination == job.destination;
  const auto& [server, server_port, client, service] = job.selection;
  const auto& connections = state.connections;
  const auto real = connections.real_end(record);
  if ((record.flags & kConnectionSnat) != 0) {
    // The client is the inside host; there are no servers and services.
    return !server && !server_port && !service && (!client || real.address == *client);
  }
  if (server && real.address != *server) return false;
  if (server_port && real.port != *server_port) return false;
  if (client && connections.client_end(record).address != *client) return false;
  if (!service) return true;
  if (record.destination == 0) return false;
  return state.destinations.at(record.destination).service_key == *service;
}

/// Makes the client speak. What it answers is answered with a RST.
///
/// The sequence number must lie outside the client's window: half of all numbers do, so one drawn
/// by a hash of the connection's number is as good as any. By chance inside, the segment is an old
/// acknowledgement, and means nothing.
bool send_probe(DirectorState& state, ConnectionId id, const ConnectionRecord& record,
                Outputs& outputs) noexcept {
  const auto& connections = state.connections;
  const auto number =
      static_cast<std::uint32_t>((state.options.hash_key[1] + id) * 0x9e3779b97f4a7c15ULL >> 32);
  const bool is_sent = send_segment({.from = connections.virtual_end(record),
                                     .to = connections.client_end(record),
                                     .sequence = number,
                                     .acknowledgement = 0,
                                     .flags = net::kTcpAck},
                                    state.next_identification(), state.network, outputs);
  if (is_sent) ++state.removal.probes;
  return is_sent;
}

/// Ends one connection as the job wants it.
void end_one(DirectorState& state, const EndingJob& job, ConnectionId id, Outputs& outputs) {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  const bool is_template = (record.flags & kConnectionTemplate) != 0;
  const bool is_tcp = record.protocol == net::Protocol::kTcp && !is_template;
  if (is_tcp || record.protocol == net::Protocol::kSctp) {
    if (job.end != model::DrainEnd::kReset) return;
    const bool is_snat = (record.flags & kConnectionSnat) != 0;
    if (is_tcp && !is_snat && has_client_state(static_cast<TcpState>(record.state))) {
      send_probe(state, id, record, outputs);
    }
  }
  if (connections.controls_others(id)) {
    // A template, or the parent of FTP data: no new ones come by it; it goes after its children.
    if (is_template) connections.invalidate_template(id);
    return;
  }
  connections.expire_now(id, state.now);
  ++state.removal.ended;
}

/// Goes on with a job. False: it is done.
bool work(DirectorState& state, EndingJob& job, Outputs& outputs) {
  const auto& table = state.connections.table();
  const auto stop = std::min(table.end(), job.cursor + kSlotsAtOnce);
  for (; job.cursor < stop; ++job.cursor) {
    if (outputs.frames().size() == Outputs::kMaxFrames) return true;
    const auto id = job.cursor;
    if (!table.contains(id) || !matches(state, job, state.connections.at(id))) continue;
    end_one(state, job, id, outputs);
  }
  return job.cursor < table.end();
}

/// Makes a job of each destination whose time is over.
void begin_jobs(DirectorState& state) {
  std::erase_if(state.removal.draining, [&](std::uint32_t id) {
    auto& destination = state.destinations.at(id);
    if (state.now < destination.drain_until) return false;
    destination.drains = false;
    if (destination.drain_end != model::DrainEnd::kKeep && destination.references != 0) {
      state.removal.jobs.push_back(
          {.selection = {}, .destination = id, .end = destination.drain_end});
    }
    return true;
  });
}

}  // namespace

Result<void> set_service_options(Director& director, const model::ServiceKey& key,
                                 const model::ServiceOptions& options) {
  auto& state = director.state();
  auto* service = state.services.find(key);
  if (service == nullptr) return failure(ESRCH);
  const auto& [tcp, tcp_fin, udp] = options.timeouts;
  if (std::max({tcp, tcp_fin, udp}) > kMaxTimeout) return failure(EINVAL);
  using Options = model::ServiceOptions;
  if (options.drain &&
      (*options.drain < Options::kNoDrain || *options.drain > Options::kMaxDrain)) {
    return failure(EINVAL);
  }
  if (options.drain_end && *options.drain_end > model::DrainEnd::kReset) return failure(EINVAL);
  count(state.removal, service->options, kOneLess);
  count(state.removal, options, kOneMore);
  service->options = options;
  state.saved.save(*service);
  return {};
}

std::optional<model::ServiceOptions> service_options(const Director& director,
                                                     const model::ServiceKey& key) {
  const auto* service = director.state().services.find(key);
  if (service == nullptr) return std::nullopt;
  return service->options;
}

Result<void> end_connections(Director& director, const model::ConnectionSelection& selection) {
  auto& jobs = director.state().removal.jobs;
  if (jobs.size() >= kMaxJobs) return failure(EBUSY);
  jobs.push_back({.selection = selection});
  return {};
}

const Removal& removal_of(const Director& director) noexcept { return director.state().removal; }

bool end_due(Director& director, Outputs& outputs) noexcept {
  auto& state = director.state();
  auto& removal = state.removal;
  if (!removal.draining.empty()) begin_jobs(state);
  if (removal.jobs.empty()) return false;
  if (!work(state, removal.jobs.front(), outputs)) removal.jobs.erase(removal.jobs.begin());
  return !removal.jobs.empty();
}

void begin_drain(DirectorState& state, const Service& service, Destination& destination) {
  const auto policy = policy_of(state.settings, service.options);
  if (policy.drain < 0) return;
  // One that had weight 0 and is removed now goes on with the time that it has.
  if (destination.drains) return;
  destination.drains = true;
  destination.drain_until = state.now + std::chrono::seconds(policy.drain);
  destination.drain_end = policy.end;
  state.removal.draining.push_back(destination.id);
}

void end_drain(DirectorState& state, Destination& destination) {
  destination.drains = false;
  auto& removal = state.removal;
  std::erase(removal.draining, destination.id);
  std::erase_if(removal.jobs,
                [&](const EndingJob& job) { return job.destination == destination.id; });
}

// Its options stay with it: its destinations are to drain as they say.
void forget_options(DirectorState& state, const Service& service) {
  count(state.removal, service.options, kOneLess);
}

bool is_draining(const DirectorState& state, const Destination& destination) noexcept {
  return destination.drains && state.now < destination.drain_until;
}

bool is_reused_at_once(const DirectorState& state, const Destination* destination) noexcept {
  if (destination == nullptr) return false;
  if (destination->is_available && destination->weight() != 0) return false;
  const auto* service = destination->service != nullptr
                            ? destination->service
                            : state.services.find(destination->service_key);
  return service != nullptr && policy_of(state.settings, service->options).reuse_ports;
}

void apply_service_timeouts(DirectorState& state, ConnectionId id) noexcept {
  auto& record = state.connections.at(id);
  const auto* destination = state.connections.destination(record);
  if (destination == nullptr || destination->service == nullptr) return;
  const auto& timeouts = destination->service->options.timeouts;
  std::uint32_t timeout = 0;
  if (record.protocol == net::Protocol::kUdp) {
    timeout = timeouts.udp;
  } else if (record.protocol == net::Protocol::kTcp) {
    const auto tcp = static_cast<TcpState>(record.state);
    if (tcp == TcpState::kEstablished) timeout = timeouts.tcp;
    if (tcp == TcpState::kFinWait) timeout = timeouts.tcp_fin;
  }
  if (timeout != 0) record.timeout_s = timeout;
}

std::optional<Verdict> reset_stray(DirectorState& state, PacketContext& context,
                                   const Flow& flow) noexcept {
  const bool is_asked =
      state.removal.services_with_reset != 0 ||
      state.settings.drain_end == static_cast<std::int32_t>(model::DrainEnd::kReset);
  if (!is_asked || flow.protocol != net::Protocol::kTcp || context.is_from_host()) {
    return std::nullopt;
  }
  const auto* service = state.services.find_for_packet(
      mark(state, context), flow.protocol, flow.virtual_end.address, flow.virtual_end.port);
  if (service == nullptr ||
      policy_of(state.settings, service->options).end != model::DrainEnd::kReset) {
    return std::nullopt;
  }
  // To a RST none is sent; one without ACK (there is none but a SYN) is for others to judge.
  const auto flags = context.headers.tcp_flags;
  if ((flags & net::kTcpRst) != 0 || (flags & net::kTcpAck) == 0) return std::nullopt;
  const auto transport = context.transport();
  if (!net::holds(transport, kTcpAcknowledgement, sizeof(std::uint32_t))) return std::nullopt;
  const auto acknowledged = net::load<net::Be32>(transport, kTcpAcknowledgement).to_host();
  if (!send_segment({.from = flow.virtual_end,
                     .to = flow.client,
                     .sequence = acknowledged,
                     .acknowledgement = 0,
                     .flags = net::kTcpRst},
                    state.next_identification(), state.network, context.outputs)) {
    return std::nullopt;
  }
  ++state.removal.resets;
  return Verdict::drop(DropReason::kNotFirstPacket);
}

}  // namespace lb::engine
