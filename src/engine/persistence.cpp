// SPDX-License-Identifier: Apache-2.0
#include "engine/persistence.hpp"

#include <bit>

namespace lb::engine {
namespace {

// What a template is filed under.
struct TemplateKey {
  net::Protocol protocol;
  net::IpAddress client;  ///< masked
  net::Endpoint virtual_end;
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

// A mark is filed as if it were an address, under protocol 0.
net::IpAddress mark_as_address(const model::ServiceKey& key) {
  const auto mark = net::Be32::from_host(key.fwmark);
  if (key.family == net::Family::kIpv4) return net::IpAddress::v4(mark);
  std::array<std::uint8_t, 16> bytes{};
  const auto v4 = net::IpAddress::v4(mark).bytes();
  std::copy_n(v4.begin(), 4, bytes.begin() + 12);
  return net::IpAddress::v6(bytes);
}

TemplateKey template_key(const Service& service, const Flow& flow) {
  TemplateKey key{.protocol = flow.protocol,
                  .client = masked_client(service.spec, flow.client.address),
                  .virtual_end = {flow.virtual_end.address, net::Port{}}};
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

}  // namespace

Destination* choose_destination(DirectorState& state, Service& service, const Flow& flow) noexcept {
  if (service.scheduler == nullptr) return nullptr;
  return service.scheduler->schedule(service.context(state.settings, state.now),
                                     {.protocol = flow.protocol,
                                      .client = flow.client.address,
                                      .client_port = flow.client.port,
                                      .virtual_address = flow.virtual_end.address,
                                      .virtual_port = flow.virtual_end.port});
}

void count_connection(DirectorState& state, Service& service, Destination& destination) noexcept {
  ++destination.statistics.counters.connections;
  ++service.statistics.counters.connections;
  ++state.totals.counters.connections;
  ++state.counters.connections_created;
}

ScheduleResult schedule_persistent(DirectorState& state, Service& service,
                                   const Flow& flow) noexcept {
  auto& connections = state.connections;
  const auto key = template_key(service, flow);
  auto held_by = connections.find_template(key.protocol, key.client, key.virtual_end);
  if (held_by != 0 && !is_good(state, held_by)) {
    connections.invalidate_template(held_by);
    held_by = 0;
  }

  Destination* destination = nullptr;
  if (held_by != 0) {
    destination = connections.destination(connections.at(held_by));
  } else {
    destination = choose_destination(state, service, flow);
    if (destination == nullptr) return {.failure = ScheduleFailure::kNoDestination};
    const bool names_port =
        flow.virtual_end.port == service.key().port && service.key().port.to_host() != kFtpPort;
    held_by = connections.open(
        {.protocol = key.protocol,
         .client = {key.client, net::Port{}},
         .virtual_end = key.virtual_end,
         .real_end = {destination->spec.address, names_port ? destination->spec.port : net::Port{}},
         .destination = destination,
         .flags = kConnectionTemplate,
         .timeout_s = service.spec.timeout},
        state.now);
    if (held_by == 0) return {.failure = ScheduleFailure::kTableFull};
  }

  const bool is_service_port =
      flow.virtual_end.port == service.key().port && destination->spec.port != net::Port{};
  const auto port = is_service_port ? destination->spec.port : flow.virtual_end.port;
  const auto id =
      connections.open({.protocol = flow.protocol,
                        .client = flow.client,
                        .virtual_end = flow.virtual_end,
                        .real_end = {destination->spec.address, port},
                        .destination = destination,
                        .flags = service.is_one_packet(flow.protocol) ? kConnectionOnePacket : 0U},
                       state.now);
  if (id == 0) return {.failure = ScheduleFailure::kTableFull};
  connections.set_control(id, held_by);
  connections.touch(held_by, state.now);
  count_connection(state, service, *destination);
  return {.connection = id};
}

}  // namespace lb::engine
