// SPDX-License-Identifier: Apache-2.0
#include "wire/ipvs_server.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <initializer_list>

#include "wire/framing.hpp"

namespace lb::wire {
namespace {

/// What GET_INFO reports: 1.2.1, as every kernel since 2.6.
constexpr std::uint32_t kIpvsVersion = 0x010201;

bool has_all(const AttributeTable& table, std::initializer_list<unsigned> types) noexcept {
  for (const auto type : types) {
    if (!table.has(type)) return false;
  }
  return true;
}

/// The attributes of a nest; EINVAL for whatever is wrong with them, as in the kernel.
Result<AttributeTable> open_nest(const std::optional<std::span<const std::byte>>& nest,
                                 AttributeRules rules) noexcept {
  if (!nest) return failure(EINVAL);
  auto table = AttributeTable::parse(*nest, rules);
  if (!table) return failure(EINVAL);
  return table;
}

}  // namespace

Result<IpvsRequest> IpvsRequest::parse(std::span<const std::byte> attributes) noexcept {
  const auto table = AttributeTable::parse(attributes, kRequestRules);
  if (!table) return tl::unexpected(table.error());
  IpvsRequest request;
  const auto nest = [&](unsigned type, auto& member) {
    if (table->has(type)) member = table->bytes(type);
  };
  nest(IPVS_CMD_ATTR_SERVICE, request.service);
  nest(IPVS_CMD_ATTR_DEST, request.destination);
  nest(IPVS_CMD_ATTR_DAEMON, request.daemon);
  request.timeouts = {.tcp = table->u32(IPVS_CMD_ATTR_TIMEOUT_TCP),
                      .tcp_fin = table->u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN),
                      .udp = table->u32(IPVS_CMD_ATTR_TIMEOUT_UDP)};
  return request;
}

Result<model::ServiceSpec> parse_service(const std::optional<std::span<const std::byte>>& nest,
                                         Detail detail) noexcept {
  const auto table = open_nest(nest, kServiceRules);
  if (!table) return tl::unexpected(table.error());
  const bool has_address =
      has_all(*table, {IPVS_SVC_ATTR_PROTOCOL, IPVS_SVC_ATTR_ADDR, IPVS_SVC_ATTR_PORT});
  if (!table->has(IPVS_SVC_ATTR_AF) || !(table->has(IPVS_SVC_ATTR_FWMARK) || has_address)) {
    return failure(EINVAL);
  }
  const auto family = table->u16(IPVS_SVC_ATTR_AF);
  if (family != AF_INET && family != AF_INET6) return failure(EAFNOSUPPORT);
  // The kernel keeps any 16-bit number; no packet can ever match one above 255.
  if (!table->has(IPVS_SVC_ATTR_FWMARK) && table->u16(IPVS_SVC_ATTR_PROTOCOL) > 0xff) {
    return failure(EINVAL);
  }
  model::ServiceSpec spec;
  spec.key = read_service_key(*table, static_cast<net::Family>(family));
  if (detail == Detail::kFull) {
    if (!has_all(*table, {IPVS_SVC_ATTR_SCHED_NAME, IPVS_SVC_ATTR_FLAGS, IPVS_SVC_ATTR_TIMEOUT,
                          IPVS_SVC_ATTR_NETMASK})) {
      return failure(EINVAL);
    }
    read_service_settings(*table, spec);
  }
  return spec;
}

Result<DestinationRequest> parse_destination(const std::optional<std::span<const std::byte>>& nest,
                                             Detail detail) noexcept {
  const auto table = open_nest(nest, kDestinationRules);
  if (!table) return tl::unexpected(table.error());
  if (!has_all(*table, {IPVS_DEST_ATTR_ADDR, IPVS_DEST_ATTR_PORT})) return failure(EINVAL);
  DestinationRequest request;
  request.family = table->u16(IPVS_DEST_ATTR_ADDR_FAMILY);
  request.address = address_bytes(table->bytes(IPVS_DEST_ATTR_ADDR));
  auto& spec = request.spec;
  spec.port = table->be16(IPVS_DEST_ATTR_PORT);
  if (detail == Detail::kIdentity) return request;

  if (!has_all(*table, {IPVS_DEST_ATTR_FWD_METHOD, IPVS_DEST_ATTR_WEIGHT, IPVS_DEST_ATTR_U_THRESH,
                        IPVS_DEST_ATTR_L_THRESH})) {
    return failure(EINVAL);
  }
  read_destination_settings(*table, spec);
  return request;
}

Result<model::SyncDaemonSpec> parse_daemon(const std::optional<std::span<const std::byte>>& nest,
                                           Detail detail) noexcept {
  const auto table = open_nest(nest, kDaemonRules);
  if (!table) return tl::unexpected(table.error());
  if (!table->has(IPVS_DAEMON_ATTR_STATE)) return failure(EINVAL);
  const auto role = table->u32(IPVS_DAEMON_ATTR_STATE);
  model::SyncDaemonSpec spec;
  spec.role = static_cast<model::SyncRole>(role);
  if (detail == Detail::kIdentity) return spec;

  if (!has_all(*table, {IPVS_DAEMON_ATTR_MCAST_IFN, IPVS_DAEMON_ATTR_SYNC_ID})) {
    return failure(EINVAL);
  }
  spec.interface = table->text(IPVS_DAEMON_ATTR_MCAST_IFN);
  spec.sync_id = table->u32(IPVS_DAEMON_ATTR_SYNC_ID);
  spec.max_length = table->u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN);
  spec.port = table->u16(IPVS_DAEMON_ATTR_MCAST_PORT);
  spec.ttl = table->u8(IPVS_DAEMON_ATTR_MCAST_TTL);
  if (table->has(IPVS_DAEMON_ATTR_MCAST_GROUP)) {
    spec.group = net::IpAddress::v4(table->be32(IPVS_DAEMON_ATTR_MCAST_GROUP));
    if (!spec.group.is_multicast()) return failure(EINVAL);
  } else if (table->has(IPVS_DAEMON_ATTR_MCAST_GROUP6)) {
    spec.group = net::IpAddress::v6(address_bytes(table->bytes(IPVS_DAEMON_ATTR_MCAST_GROUP6)));
    if (!spec.group.is_multicast()) return failure(EINVAL);
  }
  return spec;
}

void encode_service(Message& out, const MessageView& request, std::uint32_t port_id,
                    std::uint16_t flags, const model::ServiceInfo& service) {
  put_answer(out, request, port_id, flags, IPVS_CMD_NEW_SERVICE, [&](MessageWriter& writer) {
    const auto& spec = service.spec;
    const auto nest = writer.begin_nest(IPVS_CMD_ATTR_SERVICE);
    put_service_key(writer, spec.key);
    writer.put_string(IPVS_SVC_ATTR_SCHED_NAME, spec.scheduler.view());
    if (!spec.persistence_engine.empty()) {
      writer.put_string(IPVS_SVC_ATTR_PE_NAME, spec.persistence_engine.view());
    }
    const ip_vs_flags service_flags{.flags = spec.flags, .mask = ~std::uint32_t{0}};
    writer.put_bytes(IPVS_SVC_ATTR_FLAGS, std::as_bytes(std::span(&service_flags, 1)));
    writer.put_u32(IPVS_SVC_ATTR_TIMEOUT, spec.timeout);
    writer.put_u32(IPVS_SVC_ATTR_NETMASK, spec.netmask);
    put_statistics(writer, IPVS_SVC_ATTR_STATS, service.statistics);
    put_statistics64(writer, IPVS_SVC_ATTR_STATS64, service.statistics);
    writer.end_nest(nest);
  });
}

void encode_destination(Message& out, const MessageView& request, std::uint32_t port_id,
                        std::uint16_t flags, const model::DestinationInfo& destination) {
  put_answer(out, request, port_id, flags, IPVS_CMD_NEW_DEST, [&](MessageWriter& writer) {
    const auto& spec = destination.spec;
    const auto nest = writer.begin_nest(IPVS_CMD_ATTR_DEST);
    put_address(writer, IPVS_DEST_ATTR_ADDR, spec.address);
    put_destination_settings(writer, spec);
    writer.put_u32(IPVS_DEST_ATTR_ACTIVE_CONNS, destination.active_connections);
    writer.put_u32(IPVS_DEST_ATTR_INACT_CONNS, destination.inactive_connections);
    writer.put_u32(IPVS_DEST_ATTR_PERSIST_CONNS, destination.persistent_connections);
    writer.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, static_cast<std::uint16_t>(spec.address.family()));
    put_statistics(writer, IPVS_DEST_ATTR_STATS, destination.statistics);
    put_statistics64(writer, IPVS_DEST_ATTR_STATS64, destination.statistics);
    writer.end_nest(nest);
  });
}

void encode_daemon(Message& out, const MessageView& request, std::uint32_t port_id,
                   std::uint16_t flags, const model::SyncDaemonSpec& daemon) {
  put_answer(out, request, port_id, flags, IPVS_CMD_NEW_DAEMON, [&](MessageWriter& writer) {
    const auto nest = writer.begin_nest(IPVS_CMD_ATTR_DAEMON);
    writer.put_u32(IPVS_DAEMON_ATTR_STATE, static_cast<std::uint32_t>(daemon.role));
    writer.put_string(IPVS_DAEMON_ATTR_MCAST_IFN, daemon.interface.view());
    writer.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, daemon.sync_id);
    writer.put_u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, daemon.max_length);
    writer.put_u16(IPVS_DAEMON_ATTR_MCAST_PORT, daemon.port);
    writer.put_u8(IPVS_DAEMON_ATTR_MCAST_TTL, daemon.ttl);
    if (daemon.group.is_v4()) {
      writer.put_be32(IPVS_DAEMON_ATTR_MCAST_GROUP, daemon.group.word(0));
    } else {
      put_address(writer, IPVS_DAEMON_ATTR_MCAST_GROUP6, daemon.group);
    }
    writer.end_nest(nest);
  });
}

void encode_timeouts(Message& out, const MessageView& request, std::uint32_t port_id,
                     const model::Timeouts& timeouts) {
  put_answer(out, request, port_id, 0, IPVS_CMD_SET_CONFIG, [&](MessageWriter& writer) {
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp);
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcp_fin);
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp);
  });
}

void encode_info(Message& out, const MessageView& request, std::uint32_t port_id,
                 std::uint32_t table_size) {
  put_answer(out, request, port_id, 0, IPVS_CMD_SET_INFO, [&](MessageWriter& writer) {
    writer.put_u32(IPVS_INFO_ATTR_VERSION, kIpvsVersion);
    writer.put_u32(IPVS_INFO_ATTR_CONN_TAB_SIZE, table_size);
  });
}

}  // namespace lb::wire
