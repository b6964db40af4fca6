// SPDX-License-Identifier: Apache-2.0
#include "shim/socket_options.hpp"

#include <linux/ip_vs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net/bytes.hpp"
#include "wire/ipvs_client.hpp"

namespace lb::shim {
namespace {

constexpr std::size_t kServiceSize = sizeof(ip_vs_service_user);
constexpr std::size_t kServerSize = kServiceSize + sizeof(ip_vs_dest_user);
constexpr std::size_t kVersionSize = 64;
constexpr std::size_t kDaemons = 2;

/// The only length that a command takes; 0 also of those that nothing implements.
std::size_t length_of_set(int option) noexcept {
  switch (option) {
    case IP_VS_SO_SET_ADD:
    case IP_VS_SO_SET_EDIT:
    case IP_VS_SO_SET_DEL:
    case IP_VS_SO_SET_ZERO:
      return kServiceSize;
    case IP_VS_SO_SET_ADDDEST:
    case IP_VS_SO_SET_DELDEST:
    case IP_VS_SO_SET_EDITDEST:
      return kServerSize;
    case IP_VS_SO_SET_TIMEOUT:
      return sizeof(ip_vs_timeout_user);
    case IP_VS_SO_SET_STARTDAEMON:
    case IP_VS_SO_SET_STOPDAEMON:
      return sizeof(ip_vs_daemon_user);
    default:
      return 0;
  }
}

/// The least length of a question.
std::size_t length_of_get(int option) noexcept {
  switch (option) {
    case IP_VS_SO_GET_VERSION:
      return kVersionSize;
    case IP_VS_SO_GET_INFO:
      return sizeof(ip_vs_getinfo);
    case IP_VS_SO_GET_SERVICES:
      return sizeof(ip_vs_get_services);
    case IP_VS_SO_GET_SERVICE:
      return sizeof(ip_vs_service_entry);
    case IP_VS_SO_GET_DESTS:
      return sizeof(ip_vs_get_dests);
    case IP_VS_SO_GET_TIMEOUT:
      return sizeof(ip_vs_timeout_user);
    case IP_VS_SO_GET_DAEMON:
      return kDaemons * sizeof(ip_vs_daemon_user);
    default:
      return 0;
  }
}

net::IpAddress address_of(std::uint32_t raw) noexcept {
  return net::IpAddress::v4(net::Be32::from_network(raw));
}

std::uint32_t raw_of(const net::IpAddress& address) noexcept {
  return address.word(0).to_network();
}

/// Of any of the structures that begin by naming a service.
template <class User>
model::ServiceKey key_of(const User& user) noexcept {
  model::ServiceKey key;
  key.fwmark = user.fwmark;
  if (user.fwmark != 0) return key;
  key.protocol = static_cast<net::Protocol>(user.protocol);
  key.address = address_of(user.addr);
  key.port = net::Port::from_network(user.port);
  return key;
}

bool is_terminated(std::span<const char> name) noexcept {
  return std::find(name.begin(), name.end(), '\0') != name.end();
}

template <std::size_t Size>
void put_name(char (&to)[Size], std::string_view name) noexcept {
  std::fill(std::begin(to), std::end(to), '\0');
  std::copy_n(name.begin(), std::min(name.size(), Size - 1), to);
}

ip_vs_stats_user stats_of(const model::Statistics& statistics) noexcept {
  const auto& [counters, rates] = statistics;
  const auto low = [](std::uint64_t number) { return static_cast<std::uint32_t>(number); };
  ip_vs_stats_user stats{};
  stats.conns = low(counters.connections);
  stats.inpkts = low(counters.packets_in);
  stats.outpkts = low(counters.packets_out);
  stats.inbytes = counters.bytes_in;
  stats.outbytes = counters.bytes_out;
  stats.cps = low(rates.connections);
  stats.inpps = low(rates.packets_in);
  stats.outpps = low(rates.packets_out);
  stats.inbps = low(rates.bytes_in);
  stats.outbps = low(rates.bytes_out);
  return stats;
}

ip_vs_service_entry entry_of(const model::ServiceInfo& service, std::size_t servers) noexcept {
  const auto& spec = service.spec;
  ip_vs_service_entry entry{};
  entry.protocol = static_cast<std::uint16_t>(spec.key.protocol);
  entry.addr = raw_of(spec.key.address);
  entry.port = spec.key.port.to_network();
  entry.fwmark = spec.key.fwmark;
  put_name(entry.sched_name, spec.scheduler.view());
  entry.flags = spec.flags;
  entry.timeout = spec.timeout;
  entry.netmask = spec.netmask;
  entry.num_dests = static_cast<unsigned>(servers);
  entry.stats = stats_of(service.statistics);
  return entry;
}

ip_vs_dest_entry entry_of(const model::DestinationInfo& destination) noexcept {
  const auto& spec = destination.spec;
  ip_vs_dest_entry entry{};
  entry.addr = raw_of(spec.address);
  entry.port = spec.port.to_network();
  // The kernel shows flags of its own beside the method.
  entry.conn_flags = static_cast<unsigned>(spec.method) | IP_VS_CONN_F_INACTIVE;
  if (spec.method != model::ForwardingMethod::kMasquerade) {
    entry.conn_flags |= IP_VS_CONN_F_NOOUTPUT;
  }
  entry.weight = spec.weight;
  entry.u_threshold = spec.upper_threshold;
  entry.l_threshold = spec.lower_threshold;
  entry.activeconns = destination.active_connections;
  entry.inactconns = destination.inactive_connections;
  entry.persistconns = destination.persistent_connections;
  entry.stats = stats_of(destination.statistics);
  return entry;
}

model::DestinationSpec destination_of(const ip_vs_dest_user& user) noexcept {
  model::DestinationSpec spec;
  spec.address = address_of(user.addr);
  spec.port = net::Port::from_network(user.port);
  spec.method =
      static_cast<model::ForwardingMethod>(user.conn_flags & unsigned{IP_VS_CONN_F_FWD_MASK});
  spec.weight = user.weight;
  spec.upper_threshold = user.u_threshold;
  spec.lower_threshold = user.l_threshold;
  return spec;
}

bool is_ipv4(const model::ServiceInfo& service) noexcept {
  return service.spec.key.family == net::Family::kIpv4;
}

}  // namespace

bool SocketOptions::is_set(int option) noexcept {
  return option >= IP_VS_BASE_CTL && option <= IP_VS_SO_SET_MAX;
}
bool SocketOptions::is_get(int option) noexcept {
  return option >= IP_VS_BASE_CTL && option <= IP_VS_SO_GET_MAX;
}

template <class Read>
auto SocketOptions::ask(const wire::Message& request, Read read)
    -> decltype(read(std::span<const wire::Message>())) {
  const auto answer = transport_.exchange(request);
  if (!answer) return tl::unexpected(answer.error());
  return read(*answer);
}

Result<void> SocketOptions::command(const wire::Message& request) {
  return ask(request, wire::outcome);
}

Result<void> SocketOptions::set(int option, std::span<const std::byte> value) {
  if (value.size() != length_of_set(option)) return failure(EINVAL);
  if (option == IP_VS_SO_SET_STARTDAEMON || option == IP_VS_SO_SET_STOPDAEMON) {
    return set_daemon(option, value);
  }
  if (option == IP_VS_SO_SET_FLUSH) return command(wire::flush_request(context_));
  if (option == IP_VS_SO_SET_TIMEOUT) {
    const auto user = net::load<ip_vs_timeout_user>(value);
    if (user.tcp_timeout < 0 || user.tcp_fin_timeout < 0 || user.udp_timeout < 0) {
      return failure(EINVAL);
    }
    return command(wire::set_timeouts_request(
        context_, {.tcp = static_cast<std::uint32_t>(user.tcp_timeout),
                   .tcp_fin = static_cast<std::uint32_t>(user.tcp_fin_timeout),
                   .udp = static_cast<std::uint32_t>(user.udp_timeout)}));
  }
  if (value.empty()) return failure(EINVAL);
  return set_service(option, value);
}

Result<void> SocketOptions::set_daemon(int option, std::span<const std::byte> value) {
  const auto user = net::load<ip_vs_daemon_user>(value);
  model::SyncDaemonSpec daemon;
  daemon.role = static_cast<model::SyncRole>(user.state);
  daemon.sync_id = static_cast<std::uint32_t>(user.syncid);
  if (option == IP_VS_SO_SET_STOPDAEMON) {
    return command(wire::stop_daemon_request(context_, daemon));
  }
  if (!is_terminated(user.mcast_ifn) || user.mcast_ifn[0] == '\0') return failure(EINVAL);
  daemon.interface = model::Name(user.mcast_ifn);
  return command(wire::start_daemon_request(context_, daemon));
}

Result<void> SocketOptions::set_service(int option, std::span<const std::byte> value) {
  const auto user = net::load<ip_vs_service_user>(value);
  if (option == IP_VS_SO_SET_ZERO && user.fwmark == 0 && user.addr == 0 && user.port == 0) {
    return command(wire::zero_all_request(context_));
  }
  const bool is_add = option == IP_VS_SO_SET_ADD;
  const bool is_full = is_add || option == IP_VS_SO_SET_EDIT;
  if (is_full && !is_terminated(user.sched_name)) return failure(EINVAL);
  if (user.protocol != IPPROTO_TCP && user.protocol != IPPROTO_UDP &&
      user.protocol != IPPROTO_SCTP) {
    return failure(EFAULT);
  }
  model::ServiceSpec service;
  service.key = key_of(user);
  service.scheduler = is_full ? model::Name(user.sched_name) : model::Name();
  service.flags = user.flags;
  service.timeout = user.timeout;
  service.netmask = user.netmask;
  switch (option) {
    case IP_VS_SO_SET_ADD:
      return command(wire::add_service_request(context_, service));
    case IP_VS_SO_SET_EDIT:
      return command(wire::edit_service_request(context_, service));
    case IP_VS_SO_SET_DEL:
      return command(wire::delete_service_request(context_, service));
    case IP_VS_SO_SET_ZERO:
      return command(wire::zero_request(context_, service));
    default:
      break;
  }
  const auto server = destination_of(net::load<ip_vs_dest_user>(value, kServiceSize));
  if (option == IP_VS_SO_SET_ADDDEST) {
    return command(wire::add_destination_request(context_, service, server));
  }
  if (option == IP_VS_SO_SET_EDITDEST) {
    return command(wire::edit_destination_request(context_, service, server));
  }
  return command(wire::delete_destination_request(context_, service, server));
}

Result<socklen_t> SocketOptions::get(int option, std::span<std::byte> value) {
  if (value.size() < length_of_get(option)) return failure(EINVAL);
  auto length = static_cast<socklen_t>(value.size());
  const auto answer = [&]() -> Result<void> {
    switch (option) {
      case IP_VS_SO_GET_VERSION:
        return get_version(value, length);
      case IP_VS_SO_GET_INFO:
        return get_info(value);
      case IP_VS_SO_GET_SERVICES:
        return get_services(value);
      case IP_VS_SO_GET_SERVICE:
        return get_service(value);
      case IP_VS_SO_GET_DESTS:
        return get_destinations(value);
      case IP_VS_SO_GET_TIMEOUT:
        return get_timeouts(value);
      case IP_VS_SO_GET_DAEMON:
        return get_daemons(value);
      default:
        return failure(EINVAL);
    }
  }();
  if (!answer) return tl::unexpected(answer.error());
  return length;
}

Result<void> SocketOptions::get_version(std::span<std::byte> value, socklen_t& length) {
  const auto info = ask(wire::info_request(context_), wire::read_info);
  if (!info) return tl::unexpected(info.error());
  std::array<char, kVersionSize> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "IP Virtual Server version %u.%u.%u (size=%u)",
                    (info->version >> 16) & 0xffU, (info->version >> 8) & 0xffU,
                    info->version & 0xffU, info->table_size);
  length = static_cast<socklen_t>(size) + 1;
  std::memcpy(value.data(), text.data(), length);
  return {};
}

Result<void> SocketOptions::get_info(std::span<std::byte> value) {
  const auto info = ask(wire::info_request(context_), wire::read_info);
  if (!info) return tl::unexpected(info.error());
  const auto services = ask(wire::list_services_request(context_), wire::read_services);
  if (!services) return tl::unexpected(services.error());
  ip_vs_getinfo user{};
  user.version = info->version;
  user.size = info->table_size;
  user.num_services =
      static_cast<unsigned>(std::count_if(services->begin(), services->end(), is_ipv4));
  net::store(value, 0, user);
  return {};
}

Result<void> SocketOptions::get_services(std::span<std::byte> value) {
  const auto user = net::load<ip_vs_get_services>(value);
  if (value.size() != sizeof user + std::size_t{user.num_services} * sizeof(ip_vs_service_entry)) {
    return failure(EINVAL);
  }
  const auto services = ask(wire::list_services_request(context_), wire::read_services);
  if (!services) return tl::unexpected(services.error());
  std::size_t count = 0;
  for (const auto& service : *services) {
    if (!is_ipv4(service)) continue;
    if (count == user.num_services) break;
    const auto servers =
        ask(wire::list_destinations_request(context_, service.spec.key), wire::read_destinations);
    if (!servers) return tl::unexpected(servers.error());
    net::store(value, sizeof user + count * sizeof(ip_vs_service_entry),
               entry_of(service, servers->size()));
    ++count;
  }
  return {};
}

Result<void> SocketOptions::get_service(std::span<std::byte> value) {
  const auto key = key_of(net::load<ip_vs_service_entry>(value));
  const auto service = ask(wire::get_service_request(context_, key), wire::read_service);
  if (!service) return tl::unexpected(service.error());
  const auto servers = ask(wire::list_destinations_request(context_, key), wire::read_destinations);
  if (!servers) return tl::unexpected(servers.error());
  net::store(value, 0, entry_of(*service, servers->size()));
  return {};
}

Result<void> SocketOptions::get_destinations(std::span<std::byte> value) {
  const auto user = net::load<ip_vs_get_dests>(value);
  if (value.size() != sizeof user + std::size_t{user.num_dests} * sizeof(ip_vs_dest_entry)) {
    return failure(EINVAL);
  }
  const auto key = key_of(user);
  // The list of a service that does not exist is empty, so it is asked for first.
  const auto service = ask(wire::get_service_request(context_, key), wire::read_service);
  if (!service) return tl::unexpected(service.error());
  const auto servers = ask(wire::list_destinations_request(context_, key), wire::read_destinations);
  if (!servers) return tl::unexpected(servers.error());
  std::size_t count = 0;
  for (const auto& server : *servers) {
    if (!server.spec.address.is_v4()) continue;
    if (count == user.num_dests) break;
    net::store(value, sizeof user + count * sizeof(ip_vs_dest_entry), entry_of(server));
    ++count;
  }
  return {};
}

Result<void> SocketOptions::get_timeouts(std::span<std::byte> value) {
  const auto timeouts = ask(wire::timeouts_request(context_), wire::read_timeouts);
  if (!timeouts) return tl::unexpected(timeouts.error());
  net::store(value, 0,
             ip_vs_timeout_user{.tcp_timeout = static_cast<int>(timeouts->tcp),
                                .tcp_fin_timeout = static_cast<int>(timeouts->tcp_fin),
                                .udp_timeout = static_cast<int>(timeouts->udp)});
  return {};
}

Result<void> SocketOptions::get_daemons(std::span<std::byte> value) {
  const auto daemons = ask(wire::list_daemons_request(context_), wire::read_daemons);
  if (!daemons) return tl::unexpected(daemons.error());
  std::array<ip_vs_daemon_user, kDaemons> users{};
  for (const auto& daemon : *daemons) {
    const auto index = daemon.role == model::SyncRole::kMaster ? 0U : 1U;
    users[index].state = static_cast<int>(daemon.role);
    put_name(users[index].mcast_ifn, daemon.interface.view());
    users[index].syncid = static_cast<int>(daemon.sync_id);
  }
  net::store(value, 0, users);
  return {};
}

}  // namespace lb::shim
