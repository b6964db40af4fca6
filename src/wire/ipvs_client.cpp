// SPDX-License-Identifier: Apache-2.0
#include "wire/ipvs_client.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "wire/framing.hpp"

namespace lb::wire {
namespace {

static_assert(MessageHeader().version == IPVS_GENL_VERSION);

/// Requests mark nests; the kernel's answers don't.
constexpr unsigned kNest = NLA_F_NESTED;

void put_service(MessageWriter& writer, const model::ServiceSpec& service) {
  const auto nest = writer.begin_nest(kNest | IPVS_CMD_ATTR_SERVICE);
  put_service_key(writer, service.key);
  writer.put_string(IPVS_SVC_ATTR_SCHED_NAME, service.scheduler.view());
  if (!service.persistence_engine.empty()) {
    writer.put_string(IPVS_SVC_ATTR_PE_NAME, service.persistence_engine.view());
  }
  const ip_vs_flags flags{.flags = service.flags, .mask = service.flags_mask};
  writer.put_bytes(IPVS_SVC_ATTR_FLAGS, std::as_bytes(std::span(&flags, 1)));
  writer.put_u32(IPVS_SVC_ATTR_TIMEOUT, service.timeout);
  writer.put_u32(IPVS_SVC_ATTR_NETMASK, service.netmask);
  writer.end_nest(nest);
}

void put_destination(MessageWriter& writer, const model::DestinationSpec& destination) {
  const auto nest = writer.begin_nest(kNest | IPVS_CMD_ATTR_DEST);
  writer.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY,
                 static_cast<std::uint16_t>(destination.address.family()));
  put_address(writer, IPVS_DEST_ATTR_ADDR, destination.address);
  put_destination_settings(writer, destination);
  writer.end_nest(nest);
}

Message service_request(const RequestContext& context, unsigned command,
                        const model::ServiceSpec& service) {
  return make_request(context, command, kDo,
                      [&](MessageWriter& writer) { put_service(writer, service); });
}

Message destination_request(const RequestContext& context, unsigned command,
                            const model::ServiceSpec& service,
                            const model::DestinationSpec& destination) {
  return make_request(context, command, kDo, [&](MessageWriter& writer) {
    put_service(writer, service);
    put_destination(writer, destination);
  });
}

std::optional<net::Family> family_of(std::uint16_t number) {
  if (number == AF_INET) return net::Family::kIpv4;
  if (number == AF_INET6) return net::Family::kIpv6;
  return std::nullopt;
}

model::Statistics statistics_of(const AttributeTable& table, unsigned stats, unsigned stats64) {
  // Kernels before 4.1 send the 32-bit form only.
  return table.has(stats64) ? read_statistics64(table.bytes(stats64))
                            : read_statistics(table.bytes(stats));
}

std::optional<model::ServiceInfo> service_of(const MessageView& view) {
  const auto table = open_nest<IPVS_CMD_ATTR_SERVICE>(view, kServiceRules);
  if (!table) return std::nullopt;
  const auto family = family_of(table->u16(IPVS_SVC_ATTR_AF));
  if (!family) return std::nullopt;
  model::ServiceInfo info;
  info.spec.key = read_service_key(*table, *family);
  read_service_settings(*table, info.spec);
  info.statistics = statistics_of(*table, IPVS_SVC_ATTR_STATS, IPVS_SVC_ATTR_STATS64);
  return info;
}

std::optional<model::DestinationInfo> destination_of(const MessageView& view) {
  const auto table = open_nest<IPVS_CMD_ATTR_DEST>(view, kDestinationRules);
  if (!table || !table->has(IPVS_DEST_ATTR_ADDR)) return std::nullopt;
  // Kernels before 3.18 know no family of their own for destinations; a director always tells.
  const auto family = family_of(table->u16(IPVS_DEST_ATTR_ADDR_FAMILY));
  if (!family) return std::nullopt;
  model::DestinationInfo info;
  info.spec.address = make_address(*family, address_bytes(table->bytes(IPVS_DEST_ATTR_ADDR)));
  read_destination_settings(*table, info.spec);
  info.active_connections = table->u32(IPVS_DEST_ATTR_ACTIVE_CONNS);
  info.inactive_connections = table->u32(IPVS_DEST_ATTR_INACT_CONNS);
  info.persistent_connections = table->u32(IPVS_DEST_ATTR_PERSIST_CONNS);
  info.statistics = statistics_of(*table, IPVS_DEST_ATTR_STATS, IPVS_DEST_ATTR_STATS64);
  return info;
}

std::optional<model::SyncDaemonSpec> daemon_of(const MessageView& view) {
  const auto table = open_nest<IPVS_CMD_ATTR_DAEMON>(view, kDaemonRules);
  if (!table) return std::nullopt;
  model::SyncDaemonSpec spec;
  spec.role = static_cast<model::SyncRole>(table->u32(IPVS_DAEMON_ATTR_STATE));
  spec.interface = table->text(IPVS_DAEMON_ATTR_MCAST_IFN);
  spec.sync_id = table->u32(IPVS_DAEMON_ATTR_SYNC_ID);
  spec.max_length = table->u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN);
  spec.port = table->u16(IPVS_DAEMON_ATTR_MCAST_PORT);
  spec.ttl = table->u8(IPVS_DAEMON_ATTR_MCAST_TTL);
  if (table->has(IPVS_DAEMON_ATTR_MCAST_GROUP6)) {
    spec.group = net::IpAddress::v6(address_bytes(table->bytes(IPVS_DAEMON_ATTR_MCAST_GROUP6)));
  } else {
    spec.group = net::IpAddress::v4(table->be32(IPVS_DAEMON_ATTR_MCAST_GROUP));
  }
  return spec;
}

}  // namespace

model::ServiceSpec identity(const model::ServiceKey& key) {
  constexpr std::uint32_t kFullMask = 0xffffffff;
  constexpr std::uint32_t kFullPrefix = 128;
  return {.key = key,
          .scheduler = {},
          .persistence_engine = {},
          .netmask = key.family == net::Family::kIpv6 ? kFullPrefix : kFullMask};
}

Message info_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_GET_INFO);
}

Message add_service_request(const RequestContext& context, const model::ServiceSpec& service) {
  return service_request(context, IPVS_CMD_NEW_SERVICE, service);
}
Message edit_service_request(const RequestContext& context, const model::ServiceSpec& service) {
  return service_request(context, IPVS_CMD_SET_SERVICE, service);
}
Message delete_service_request(const RequestContext& context, const model::ServiceSpec& service) {
  return service_request(context, IPVS_CMD_DEL_SERVICE, service);
}

Message get_service_request(const RequestContext& context, const model::ServiceKey& key) {
  auto service = identity(key);
  service.netmask = 0;
  return service_request(context, IPVS_CMD_GET_SERVICE, service);
}

Message list_services_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_GET_SERVICE, kDump);
}

Message add_destination_request(const RequestContext& context, const model::ServiceSpec& service,
                                const model::DestinationSpec& destination) {
  return destination_request(context, IPVS_CMD_NEW_DEST, service, destination);
}
Message edit_destination_request(const RequestContext& context, const model::ServiceSpec& service,
                                 const model::DestinationSpec& destination) {
  return destination_request(context, IPVS_CMD_SET_DEST, service, destination);
}
Message delete_destination_request(const RequestContext& context, const model::ServiceSpec& service,
                                   const model::DestinationSpec& destination) {
  return destination_request(context, IPVS_CMD_DEL_DEST, service, destination);
}

Message list_destinations_request(const RequestContext& context, const model::ServiceKey& key) {
  return make_request(context, IPVS_CMD_GET_DEST, kDump, [&](MessageWriter& writer) {
    const auto nest = writer.begin_nest(kNest | IPVS_CMD_ATTR_SERVICE);
    put_service_key(writer, key);
    writer.end_nest(nest);
  });
}

Message timeouts_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_GET_CONFIG);
}

Message set_timeouts_request(const RequestContext& context, const model::Timeouts& timeouts) {
  return make_request(context, IPVS_CMD_SET_CONFIG, kDo, [&](MessageWriter& writer) {
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp);
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcp_fin);
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp);
  });
}

Message zero_request(const RequestContext& context, const model::ServiceSpec& service) {
  return service_request(context, IPVS_CMD_ZERO, service);
}
Message zero_all_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_ZERO);
}
Message flush_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_FLUSH);
}

Message start_daemon_request(const RequestContext& context, const model::SyncDaemonSpec& daemon) {
  return make_request(context, IPVS_CMD_NEW_DAEMON, kDo, [&](MessageWriter& writer) {
    const auto nest = writer.begin_nest(kNest | IPVS_CMD_ATTR_DAEMON);
    writer.put_u32(IPVS_DAEMON_ATTR_STATE, static_cast<std::uint32_t>(daemon.role));
    writer.put_string(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface.view());
    writer.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
    if (daemon.max_length != 0) {
      writer.put_u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_length);
    }
    if (daemon.port != 0) writer.put_u16(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port);
    if (daemon.ttl != 0) writer.put_u8(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl);
    if (!daemon.group.is_v4()) {
      put_address(writer, IPVS_DAEMON_ATTR_MCAST_GROUP6, daemon.group);
    } else if (!daemon.group.is_unspecified()) {
      writer.put_be32(IPVS_DAEMON_ATTR_MCAST_GROUP, daemon.group.word(0));
    }
    writer.end_nest(nest);
  });
}

Message stop_daemon_request(const RequestContext& context, const model::SyncDaemonSpec& daemon) {
  return make_request(context, IPVS_CMD_DEL_DAEMON, kDo, [&](MessageWriter& writer) {
    const auto nest = writer.begin_nest(kNest | IPVS_CMD_ATTR_DAEMON);
    writer.put_u32(IPVS_DAEMON_ATTR_STATE, static_cast<std::uint32_t>(daemon.role));
    writer.put_string(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface.view());
    writer.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
    writer.end_nest(nest);
  });
}

Message list_daemons_request(const RequestContext& context) {
  return make_request(context, IPVS_CMD_GET_DAEMON, kDump);
}

Result<DirectorInfo> read_info(std::span<const Message> answer) {
  return only(read_all<DirectorInfo>(
      answer, IPVS_CMD_SET_INFO, [](const MessageView& view) -> std::optional<DirectorInfo> {
        constexpr std::array<AttributeRule, IPVS_INFO_ATTR_MAX + 1> kRules{{{}, kU32, kU32}};
        const auto table = AttributeTable::parse(view.attributes, kRules);
        if (!table) return std::nullopt;
        return DirectorInfo{.version = table->u32(IPVS_INFO_ATTR_VERSION),
                            .table_size = table->u32(IPVS_INFO_ATTR_CONN_TAB_SIZE)};
      }));
}

Result<model::ServiceInfo> read_service(std::span<const Message> answer) {
  return only(read_services(answer));
}

Result<std::vector<model::ServiceInfo>> read_services(std::span<const Message> answer) {
  return read_all<model::ServiceInfo>(answer, IPVS_CMD_NEW_SERVICE, service_of);
}

Result<std::vector<model::DestinationInfo>> read_destinations(std::span<const Message> answer) {
  return read_all<model::DestinationInfo>(answer, IPVS_CMD_NEW_DEST, destination_of);
}

Result<model::Timeouts> read_timeouts(std::span<const Message> answer) {
  return only(read_all<model::Timeouts>(
      answer, IPVS_CMD_SET_CONFIG, [](const MessageView& view) -> std::optional<model::Timeouts> {
        const auto table = AttributeTable::parse(view.attributes, kRequestRules);
        if (!table) return std::nullopt;
        return model::Timeouts{.tcp = table->u32(IPVS_CMD_ATTR_TIMEOUT_TCP),
                               .tcp_fin = table->u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN),
                               .udp = table->u32(IPVS_CMD_ATTR_TIMEOUT_UDP)};
      }));
}

Result<std::vector<model::SyncDaemonSpec>> read_daemons(std::span<const Message> answer) {
  return read_all<model::SyncDaemonSpec>(answer, IPVS_CMD_NEW_DAEMON, daemon_of);
}

}  // namespace lb::wire
