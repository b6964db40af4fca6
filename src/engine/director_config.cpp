// SPDX-License-Identifier: Apache-2.0
// The director's configuration: what an administrator's requests do. Order of checks and errors
// follow kernel IPVS (ip_vs_ctl.c).
#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/director.hpp"
#include "engine/director_marks.hpp"
#include "engine/director_saving.hpp"
#include "engine/director_state.hpp"
#include "engine/director_steering.hpp"
#include "engine/removal.hpp"
#include "engine/sip.hpp"
#include "engine/snat_steering.hpp"
#include "engine/stand_in_flows.hpp"
#include "engine/zeroing.hpp"

namespace lb::engine {
namespace {

constexpr std::string_view kNoScheduler = "none";
// Largest timeout that the kernel takes: INT_MAX jiffies at 100 Hz.
constexpr std::uint32_t kMaxTimeout = 0x7fffffff / 100;

// Finds the scheduler of a request; "none" gives a null scheduler.
Result<std::unique_ptr<Scheduler>> scheduler_for(const DirectorOptions& options,
                                                 const model::ServiceSpec& spec,
                                                 std::uint64_t serial) {
  const auto& missing = options.missing_schedulers;
  if (spec.scheduler.view() == kNoScheduler) return nullptr;
  if (std::find(missing.begin(), missing.end(), spec.scheduler.view()) != missing.end()) {
    return failure(ENOENT);
  }
  auto scheduler = make_scheduler(spec.scheduler.view(), options.hash_key[0] + serial);
  if (scheduler == nullptr) return failure(ENOENT);
  return scheduler;
}

Result<void> check_service(const model::ServiceSpec& spec) {
  if (!spec.persistence_engine.empty() && spec.persistence_engine.view() != kSipEngine) {
    return failure(ENOENT);
  }
  if (spec.key.family == net::Family::kIpv6 && (spec.netmask < 1 || spec.netmask > 128)) {
    return failure(EINVAL);
  }
  return {};
}

void apply(DirectorState& state, Destination& destination, const model::DestinationSpec& spec) {
  const auto upper = destination.spec.upper_threshold;
  if (spec.upper_threshold == 0 || spec.upper_threshold > upper) destination.is_overloaded = false;
  destination.spec = spec;
  if (spec.weight != 0) destination.last_weight = spec.weight;
  destination.route = {};
  unsteer(state, destination);
  steer(state, destination);
  if (state.fast_path) state.fast_path->destination_changed(destination, state.now);
  if (state.stand_in) state.stand_in->changed(*destination.service, state.now);
}

// What is to be done when a destination has left its service; connections keep it alive.
void has_left(DirectorState& state, Service& service, Destination& destination) {
  if (state.stand_in) state.stand_in->changed(service, state.now);
  if (service.scheduler != nullptr) {
    service.scheduler->destination_removed(service.context(state.settings, state.now), destination);
  }
  begin_drain(state, service, destination);
  unsteer(state, destination);
  destination.route = {};
  if (state.fast_path) state.fast_path->count(destination);
  destination.statistics.catch_up(state.estimation_tick);  // and stands still from here on
  state.destinations.discard(destination, state.now);
  if (state.fast_path) state.fast_path->destination_changed(destination, state.now);
  save(state, destination);
}

void remove(DirectorState& state, Service& service, Destination& destination) {
  std::erase(service.destinations, &destination);
  has_left(state, service, destination);
}

void expire_orphans_if_asked(DirectorState& state) {
  if (state.settings.expire_nodest_conn != 0) state.orphan_cursor = 1;
}

void remove_service(DirectorState& state, const model::ServiceKey& key) {
  auto service = state.services.extract(key);
  state.saved.forget(*service);  // first: without it, its destinations are nothing to a successor
  if (state.stand_in) state.stand_in->gone(*service, state.now);
  service->scheduler.reset();
  forget_options(state, *service);
  for (auto* destination : std::exchange(service->destinations, {})) {
    has_left(state, *service, *destination);
  }
  state.connections.virtual_ends().release(service->virtual_end, true);
  expire_orphans_if_asked(state);
}

void zero_counters(DirectorState& state, Service& service) {
  for (auto* destination : service.destinations) {
    if (state.fast_path) state.fast_path->count(*destination);
    destination->statistics.zero(state.estimation_tick);
    save(state, *destination);
  }
  service.statistics.zero(state.estimation_tick);
  state.saved.save(service);
}

// Sync messages have one family for all addresses of a connection.
bool is_barred_by_sync(const DirectorState& state, const model::ServiceKey& key,
                       const model::DestinationSpec& spec) {
  return spec.address.family() != key.family && state.sync.is_running();
}

// The kernel takes a destination only if it could be a host's address.
bool is_possible(const NetworkView& network, const net::IpAddress& address) {
  if (network.is_local(address)) return true;
  if (address.is_v4()) return network.is_unicast(address);
  return !address.is_unspecified() && !address.is_multicast() && !address.is_link_local_v6();
}

}  // namespace

Result<void> Director::add_service(const model::ServiceSpec& spec) {
  auto& state = *state_;
  if (state.services.find(spec.key) != nullptr) return failure(EEXIST);
  auto scheduler = scheduler_for(state.options, spec, state.next_serial);
  if (!scheduler) return failure(scheduler.error().code);
  if (auto checked = check_service(spec); !checked) return checked;

  auto service = std::make_unique<Service>();
  service->spec = spec;
  service->spec.flags = (spec.flags & spec.flags_mask) | model::kServiceHashed;
  service->serial = state.next_serial++;
  service->scheduler = std::move(*scheduler);
  if (service->scheduler != nullptr) {
    if (auto bound = service->scheduler->bind(service->context(state.settings, state.now));
        !bound) {
      return bound;
    }
  }
  if (spec.key.fwmark == 0) {
    service->virtual_end = state.connections.virtual_ends().acquire_configured(
        spec.key.protocol, spec.key.address, spec.key.port);
    if (service->virtual_end == 0) return failure(ENOMEM);
  }
  auto& added = state.services.insert(std::move(service));
  state.saved.save(added);
  if (state.stand_in) state.stand_in->changed(added, state.now);
  if (spec.key.fwmark != 0) update_mark_steering(state);
  return {};
}

Result<void> Director::edit_service(const model::ServiceSpec& spec) {
  auto& state = *state_;
  auto* service = state.services.find(spec.key);
  if (service == nullptr) return failure(ESRCH);
  auto scheduler = scheduler_for(state.options, spec, service->serial);
  if (!scheduler) return failure(scheduler.error().code);
  if (auto checked = check_service(spec); !checked) return checked;

  const auto flags = (service->spec.flags & ~spec.flags_mask) | (spec.flags & spec.flags_mask);
  if (spec.scheduler != service->spec.scheduler) {
    if (*scheduler != nullptr) {
      if (auto bound = (*scheduler)->bind(service->context(state.settings, state.now)); !bound) {
        return bound;
      }
    }
    service->scheduler = std::move(*scheduler);
  }
  service->spec = spec;
  service->spec.flags = flags | model::kServiceHashed;
  state.services.engine_changed(*service);
  if (state.stand_in) state.stand_in->changed(*service, state.now);
  state.saved.save(*service);
  return {};
}

Result<void> Director::delete_service(const model::ServiceKey& key) {
  if (state_->services.find(key) == nullptr) return failure(ESRCH);
  remove_service(*state_, key);
  return {};
}

void Director::flush() {
  for (const auto& key : service_keys()) remove_service(*state_, key);
}

Result<void> Director::add_destination(const model::ServiceKey& key,
                                       const model::DestinationSpec& spec) {
  auto& state = *state_;
  auto* service = state.services.find(key);
  if (service == nullptr) return failure(ESRCH);
  if (is_barred_by_sync(state, key, spec)) return failure(EINVAL);
  const net::Endpoint end{spec.address, spec.port};
  if (service->find(end) != nullptr) return failure(EEXIST);

  auto* destination = state.destinations.revive(key, end);
  if (destination == nullptr) {
    if (!is_possible(state.network, spec.address)) return failure(EINVAL);
    destination = &state.destinations.create(key, spec);
  } else if (destination->service_serial != service->serial) {
    destination->statistics.zero(state.estimation_tick);
  } else {
    destination->statistics.resume(state.estimation_tick);
  }
  destination->service = service;
  destination->service_serial = service->serial;
  destination->order = state.next_serial++;
  apply(state, *destination, spec);
  save(state, *destination);
  if (spec.weight != 0) end_drain(state, *destination);
  service->destinations.insert(service->destinations.begin(), destination);
  if (service->scheduler != nullptr) {
    service->scheduler->destination_added(service->context(state.settings, state.now),
                                          *destination);
  }
  return {};
}

Result<void> Director::edit_destination(const model::ServiceKey& key,
                                        const model::DestinationSpec& spec) {
  auto& state = *state_;
  auto* service = state.services.find(key);
  if (service == nullptr) return failure(ESRCH);
  if (is_barred_by_sync(state, key, spec)) return failure(EINVAL);
  auto* destination = service->find({spec.address, spec.port});
  if (destination == nullptr) return failure(ENOENT);
  const bool was_quiescent = destination->weight() == 0;
  apply(state, *destination, spec);
  save(state, *destination);
  if (spec.weight != 0) {
    end_drain(state, *destination);
  } else if (!was_quiescent) {
    begin_drain(state, *service, *destination);
  }
  if (service->scheduler != nullptr) {
    service->scheduler->destination_updated(service->context(state.settings, state.now),
                                            *destination);
  }
  return {};
}

Result<void> Director::delete_destination(const model::ServiceKey& key, const net::Endpoint& end) {
  auto& state = *state_;
  auto* service = state.services.find(key);
  if (service == nullptr) return failure(ESRCH);
  auto* destination = service->find(end);
  if (destination == nullptr) return failure(ENOENT);
  remove(state, *service, *destination);
  expire_orphans_if_asked(state);
  return {};
}

Result<void> Director::zero(const model::ServiceKey& key) {
  auto* service = state_->services.find(key);
  if (service == nullptr) return failure(ESRCH);
  zero_counters(*state_, *service);
  return {};
}

void Director::zero_all() {
  for (const auto& service : state_->services.all()) zero_counters(*state_, *service);
  zero_the_rest(*this);
}

void zero_the_rest(Director& director) {
  auto& state = director.state();
  if (state.fast_path) state.fast_path->count_all();
  zero_snat_rules(state);
  state.totals.zero(state.estimation_tick);
  state.saved.save(state.totals.since_zero());
}

model::Timeouts Director::timeouts() const noexcept {
  const auto& timeouts = state_->connections.timeouts();
  return {.tcp = timeouts.tcp[static_cast<std::size_t>(TcpState::kEstablished)],
          .tcp_fin = timeouts.tcp[static_cast<std::size_t>(TcpState::kFinWait)],
          .udp = timeouts.udp};
}

Result<void> Director::set_timeouts(const model::Timeouts& request) {
  if (std::max({request.tcp, request.tcp_fin, request.udp}) > kMaxTimeout) return failure(EINVAL);
  auto& timeouts = state_->connections.timeouts();
  if (request.tcp != 0) {
    timeouts.tcp[static_cast<std::size_t>(TcpState::kEstablished)] = request.tcp;
  }
  if (request.tcp_fin != 0) {
    timeouts.tcp[static_cast<std::size_t>(TcpState::kFinWait)] = request.tcp_fin;
  }
  if (request.udp != 0) timeouts.udp = request.udp;
  state_->saved.save(state_->settings, this->timeouts());
  return {};
}

const Settings& Director::settings() const noexcept { return state_->settings; }

void Director::set_settings(const Settings& settings) noexcept {
  state_->settings = settings;
  state_->saved.save(settings, timeouts());
  state_->connections.set_limit(static_cast<std::uint32_t>(std::max(settings.conn_max, 0)));
  state_->defence.update(state_->settings);
  if (!state_->fast_path) return;
  state_->fast_path->settings_changed();
  state_->fast_path->enable(state_->uses_fast_path());
}

void Director::start_fast_path(const FlowMemory& memory) {
  auto& state = *state_;
  state.fast_path.emplace(memory, state.connections, state.destinations, state.network,
                          state.settings, state.totals, state.estimation_tick);
  state.fast_path->enable(state.uses_fast_path());
  if (memory.control == nullptr) return;
  state.stand_in.emplace(memory, *state.fast_path, state.destinations, state.services,
                         state.network);
  for (const auto& service : state.services.all()) state.stand_in->changed(*service, state.now);
}

void Director::adopt_flows(Timestamp now) noexcept {
  auto& state = *state_;
  if (state.is_adopted) {
    state.fast_path->adopt(state.saved.memory().destinations, now, [&] {
      if (state.stand_in) state.stand_in->adopt(now);
    });
    while (adopt_notes(state, SIZE_MAX)) {
    }
  }
  // Only now is XDP to hand packets over: this one knows what the notes say.
  state.fast_path->be_alive(now);
}

void Director::stop_fast_path() noexcept {
  state_->stand_in.reset();
  state_->fast_path.reset();
}

StandInStatus Director::stand_in_status() const noexcept {
  auto status = state_->stand_in ? state_->stand_in->status() : StandInStatus{};
  status.given_up = state_->connections.given_up();
  return status;
}

void Director::visit_stand_in_hops(const std::function<void(const NextHop&)>& visit) noexcept {
  constexpr std::size_t kServicesAtOnce = 64;
  auto& state = *state_;
  if (!state.stand_in) return;
  state.stand_in->visit_members(state.stand_in_cursor, kServicesAtOnce,
                                [&](const Destination& destination) {
                                  const auto hop = state.network.route(destination.spec.address);
                                  if (hop && hop->out != InterfaceId::kHost) visit(*hop);
                                });
}

void Director::add_fast_device(InterfaceId interface, std::uint16_t device, bool turns) noexcept {
  if (state_->fast_path) state_->fast_path->hops().add_device(interface, device, turns);
  if (state_->stand_in) state_->stand_in->set_port(device, interface, !turns);
}

void Director::remove_fast_device(InterfaceId interface) noexcept {
  if (state_->fast_path) state_->fast_path->hops().remove_device(interface);
  if (state_->stand_in) state_->stand_in->remove_port(interface);
}

FastPathStatus Director::fast_path_status() const noexcept {
  return state_->fast_path ? state_->fast_path->status() : FastPathStatus{};
}

void Director::set_steering_listener(SteeringListener* listener) {
  update_mark_steering(*state_);  // by now the network is known
  state_->connections.virtual_ends().set_listener(listener);
  state_->connections.real_ends().set_listener(listener);
  state_->snat.listener = listener;
  state_->snat.steered_rules = 0;
  update_snat_steering(*state_);
}

}  // namespace lb::engine
