// SPDX-License-Identifier: Apache-2.0
#include "engine/persistence.hpp"

#include <bit>
#include <optional>
#include <string_view>

#include "engine/forward/icmp_related.hpp"
#include "engine/sip.hpp"
#include "engine/stand_in_flows.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

// What a template is filed under.
struct TemplateKey {
  net::Protocol protocol;
  net::IpAddress client;  ///< masked
  net::Endpoint virtual_end;
  std::string_view data;  ///< what the persistence engine found; empty: none asked for
};

unsigned mask_bits(const model::ServiceSpec& spec) {
  if (spec.key.family == net::Family::kIpv6) return spec.netmask;
  return static_cast<unsigned>(std::popcount(spec.netmask));
}

net::IpAddress masked_client(const model::ServiceSpec& spec, const net::IpAddress& client) {
  if (spec.key.family == net::Family::kIpv6) return client.prefix(mask_bits(spec));
  // An IPv4 mask may have holes; a prefix would not do.
  const auto mask = spec.netmask;
  const auto word = client.word(0).to_network() & mask;
  return net::IpAddress::v4(net::Be32::from_network(word));
}

// A mark is filed as if it were an address, under protocol 0; of IPv6 it is the first four bytes.
net::IpAddress mark_as_address(const model::ServiceKey& key) {
  const auto mark = net::Be32::from_host(key.fwmark);
  if (key.family == net::Family::kIpv4) return net::IpAddress::v4(mark);
  std::array<std::uint8_t, 16> bytes{};
  const auto v4 = net::IpAddress::v4(mark).bytes();
  std::copy_n(v4.begin(), 4, bytes.begin());
  return net::IpAddress::v6(bytes);
}

TemplateKey template_key(const Service& service, const Flow& flow, std::string_view data) {
  TemplateKey key{.protocol = flow.protocol,
                  .client = masked_client(service.spec, flow.client.address),
                  .virtual_end = {flow.virtual_end.address, net::Port{}},
                  .data = data};
  if (flow.virtual_end.port == service.key().port) {
    // Control and data connections of FTP share a template, so it names no port.
    if (service.key().port.to_host() != kFtpPort) key.virtual_end.port = flow.virtual_end.port;
  } else if (service.key().fwmark != 0) {
    key.protocol = net::Protocol::kIp;
    key.virtual_end.address = mark_as_address(service.key());
  }
  return key;
}

bool is_good(DirectorState& state, ConnectionId id) {
  const auto* destination = state.connections.destination(state.connections.at(id));
  if (destination == nullptr || !destination->is_available) return false;
  return state.settings.expire_quiescent_template == 0 || destination->weight() != 0;
}

// What the service's engine finds in the packet: empty for a service without one, nothing if the
// packet has not got it. There is one engine, "sip".
std::optional<std::string_view> key_data_of(const Service& service, const PacketContext& context) {
  constexpr std::size_t kUdpHeader = 8;
  if (service.spec.persistence_engine.empty()) return std::string_view{};
  const auto transport = context.transport();
  if (context.headers.protocol != net::Protocol::kUdp || transport.size() <= kUdpHeader) {
    return std::nullopt;
  }
  return find_call_id(net::as_text(transport.subspan(kUdpHeader)));
}

// The template, unless its destination is of no use any more or is not the `required` one: then
// it is made unfindable.
ConnectionId find_good_template(DirectorState& state, const TemplateKey& key,
                                const Destination* required) {
  auto& connections = state.connections;
  const auto id = connections.find_template(key.protocol, key.client, key.virtual_end, key.data);
  if (id == 0) return 0;
  const bool is_required =
      required == nullptr || connections.destination(connections.at(id)) == required;
  if (is_required && is_good(state, id)) return id;
  connections.invalidate_template(id);
  return 0;
}

ConnectionId open_template(DirectorState& state, const Service& service, const TemplateKey& key,
                           Destination& destination, net::Port port) {
  return state.connections.open({.protocol = key.protocol,
                                 .client = {key.client, net::Port{}},
                                 .virtual_end = key.virtual_end,
                                 .real_end = {destination.spec.address, port},
                                 .destination = &destination,
                                 .flags = kConnectionTemplate,
                                 .timeout_s = service.spec.timeout,
                                 .key_data = key.data},
                                state.now);
}

// The template lives at least as long as what it holds.
void hold(DirectorState& state, ConnectionId id, ConnectionId held_by) {
  state.connections.set_control(id, held_by);
  state.connections.touch(held_by, state.now);
}

}  // namespace

Destination* choose_destination(DirectorState& state, Service& service,
                                const PacketContext& context, const Flow& flow) noexcept {
  if (service.scheduler == nullptr) return nullptr;
  if (auto* destination = choose_as_stand_in(state, service, flow)) return destination;
  // An ICMP error that opens a connection quotes an answer, and the schedulers that go by the
  // destination take the one of the quoted packet: the client.
  const bool is_quoted = is_related_icmp(context.headers);
  return service.scheduler->schedule(
      service.context(state.settings, state.now),
      {.protocol = flow.protocol,
       .client = flow.client.address,
       .client_port = flow.client.port,
       .virtual_address = is_quoted ? flow.client.address : flow.virtual_end.address,
       .virtual_port = flow.virtual_end.port});
}

void count_connection(DirectorState& state, Service& service, Destination& destination) noexcept {
  for (auto* statistics : {&destination.statistics, &service.statistics, &state.totals}) {
    ++statistics->counters(state.estimation_tick).connections;
  }
  ++state.counters.connections_created;
}

ConnectionId open_to(DirectorState& state, Service& service, const Flow& flow,
                     Destination& destination, const net::Endpoint& real_end,
                     ConnectionId held_by) noexcept {
  const auto id = state.connections.open(
      {.protocol = flow.protocol,
       .client = flow.client,
       .virtual_end = flow.virtual_end,
       .real_end = real_end,
       .destination = &destination,
       .flags = service.is_one_packet(flow.protocol) ? kConnectionOnePacket : 0U},
      state.now);
  if (id == 0) return 0;
  if (held_by != 0) hold(state, id, held_by);
  count_connection(state, service, destination);
  return id;
}

ScheduleResult schedule_persistent(DirectorState& state, Service& service,
                                   const PacketContext& context, const Flow& flow) noexcept {
  auto& connections = state.connections;
  const auto key_data = key_data_of(service, context);
  if (!key_data) return {.failure = ScheduleFailure::kNoKeyData};
  const auto key = template_key(service, flow, *key_data);
  auto held_by = find_good_template(state, key, nullptr);

  Destination* destination = nullptr;
  if (held_by != 0) {
    destination = connections.destination(connections.at(held_by));
  } else {
    destination = choose_destination(state, service, context, flow);
    if (destination == nullptr) return {.failure = ScheduleFailure::kNoDestination};
    const bool names_port =
        flow.virtual_end.port == service.key().port && service.key().port.to_host() != kFtpPort;
    held_by = open_template(state, service, key, *destination,
                            names_port ? destination->spec.port : net::Port{});
    if (held_by == 0) return {.failure = ScheduleFailure::kTableFull};
  }

  const bool is_service_port =
      flow.virtual_end.port == service.key().port && destination->spec.port != net::Port{};
  const auto port = is_service_port ? destination->spec.port : flow.virtual_end.port;
  const auto id =
      open_to(state, service, flow, *destination, {destination->spec.address, port}, held_by);
  if (id == 0) return {.failure = ScheduleFailure::kTableFull};
  return {.connection = id};
}

void hold_by_template(DirectorState& state, Service& service, const Flow& flow,
                      ConnectionId id) noexcept {
  auto& connections = state.connections;
  auto* destination = connections.destination(connections.at(id));
  const auto key = template_key(service, flow, {});
  auto held_by = find_good_template(state, key, nullptr);
  if (held_by == 0) {
    const bool names_port = service.key().port.to_host() != kFtpPort;
    held_by = open_template(state, service, key, *destination,
                            names_port ? destination->spec.port : net::Port{});
  }
  if (held_by == 0 || connections.destination(connections.at(held_by)) != destination) return;
  hold(state, id, held_by);
}

ConnectionId open_from_server(DirectorState& state, const PacketContext& context,
                              const Flow& flow) noexcept {
  if (context.headers.protocol != net::Protocol::kUdp) return 0;
  const auto [service, destination] = state.services.find_origin(flow.virtual_end);
  if (destination == nullptr) return 0;
  const Flow served{flow.protocol, flow.client, {service->key().address, service->key().port}};
  ConnectionId held_by = 0;
  if (service->is_persistent()) {
    const auto key_data = key_data_of(*service, context);
    if (!key_data) return 0;
    const auto key = template_key(*service, served, *key_data);
    held_by = find_good_template(state, key, destination);
    if (held_by == 0) {
      held_by = open_template(state, *service, key, *destination, destination->spec.port);
    }
    if (held_by == 0) return 0;
  }
  return open_to(state, *service, served, *destination, flow.virtual_end, held_by);
}

}  // namespace lb::engine
