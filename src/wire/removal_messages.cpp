// SPDX-License-Identifier: Apache-2.0
#include "wire/removal_messages.hpp"

#include <array>
#include <bit>
#include <cerrno>

#include "wire/framing.hpp"

namespace lb::wire {
namespace {

/// Inside the nest. Numbers are part of the protocol: never reuse one. What is not set is left out.
enum RemovalAttribute : unsigned {
  kFamily = 1,  // u16; a service is named if this is there
  kMark,        // u32
  kProtocol,    // u16
  kAddress,     // 4 or 16 bytes; so are the others
  kPort,        // be16; so are the others
  kDrain,       // u32, two's complement
  kDrainEnd,    // u16
  kReusePorts,  // u16
  kTimeoutTcp,  // u32; so are the others
  kTimeoutTcpFin,
  kTimeoutUdp,
  kServerAddress,
  kServerPort,
  kClientAddress,
  kRemovalAttributes,
};

constexpr auto kRules = [] {
  std::array<AttributeRule, kRemovalAttributes> rules{};
  for (const auto type : {kFamily, kProtocol, kPort, kDrainEnd, kReusePorts, kServerPort}) {
    rules[type] = kU16;
  }
  for (const auto type : {kMark, kDrain, kTimeoutTcp, kTimeoutTcpFin, kTimeoutUdp}) {
    rules[type] = kU32;
  }
  for (const auto type : {kAddress, kServerAddress, kClientAddress}) rules[type] = kAddressBytes;
  return rules;
}();

/// A request with an attribute that holds what `fill` puts into it.
template <class Fill>
Message removal_request(const RequestContext& context, SluiceCommand command, Fill fill) {
  return make_request(context, command, kDo, nested(kRemovalAttribute, fill));
}

void put_key(MessageWriter& writer, const model::ServiceKey& key) {
  writer.put_u16(kFamily, static_cast<std::uint16_t>(key.family));
  if (key.fwmark != 0) return writer.put_u32(kMark, key.fwmark);
  writer.put_u16(kProtocol, static_cast<std::uint16_t>(key.protocol));
  writer.put_bytes(kAddress, sized_bytes(key.address));
  writer.put_be16(kPort, key.port);
}

std::optional<model::ServiceKey> key_of(const AttributeTable& table) {
  model::ServiceKey key;
  key.family = static_cast<net::Family>(table.u16(kFamily));
  if (key.family != net::Family::kIpv4 && key.family != net::Family::kIpv6) return std::nullopt;
  key.fwmark = table.u32(kMark);
  key.address = net::IpAddress::any(key.family);
  if (key.fwmark != 0) return key;
  const auto protocol = table.u16(kProtocol);
  const auto address = sized_address(table.bytes(kAddress));
  if (protocol > UINT8_MAX || !address || address->family() != key.family) return std::nullopt;
  key.protocol = static_cast<net::Protocol>(protocol);
  key.address = *address;
  key.port = table.be16(kPort);
  return key;
}

void put_options(MessageWriter& writer, const model::ServiceOptions& options) {
  if (options.drain) writer.put_u32(kDrain, std::bit_cast<std::uint32_t>(*options.drain));
  if (options.drain_end) writer.put_u16(kDrainEnd, static_cast<std::uint16_t>(*options.drain_end));
  if (options.reuse_ports) writer.put_u16(kReusePorts, *options.reuse_ports ? 1 : 0);
  const auto& [tcp, tcp_fin, udp] = options.timeouts;
  if (tcp != 0) writer.put_u32(kTimeoutTcp, tcp);
  if (tcp_fin != 0) writer.put_u32(kTimeoutTcpFin, tcp_fin);
  if (udp != 0) writer.put_u32(kTimeoutUdp, udp);
}

std::optional<model::ServiceOptions> options_of(const AttributeTable& table) {
  model::ServiceOptions options;
  if (table.has(kDrain)) options.drain = std::bit_cast<std::int32_t>(table.u32(kDrain));
  if (table.has(kDrainEnd)) {
    const auto end = table.u16(kDrainEnd);
    if (end > static_cast<std::uint16_t>(model::DrainEnd::kReset)) return std::nullopt;
    options.drain_end = static_cast<model::DrainEnd>(end);
  }
  if (table.has(kReusePorts)) options.reuse_ports = table.u16(kReusePorts) != 0;
  options.timeouts = {.tcp = table.u32(kTimeoutTcp),
                      .tcp_fin = table.u32(kTimeoutTcpFin),
                      .udp = table.u32(kTimeoutUdp)};
  return options;
}

Result<AttributeTable> open(const MessageView& message) {
  return open_nest<kRemovalAttribute>(message, kRules);
}

std::optional<NamedServiceOptions> named_options_of(const AttributeTable& table) {
  const auto key = key_of(table);
  const auto options = options_of(table);
  if (!key || !options) return std::nullopt;
  return NamedServiceOptions{.key = *key, .options = *options};
}

}  // namespace

Message set_service_options_request(const RequestContext& context,
                                    const NamedServiceOptions& service) {
  return removal_request(context, SluiceCommand::kSetServiceOptions, [&](MessageWriter& writer) {
    put_key(writer, service.key);
    put_options(writer, service.options);
  });
}

Message list_service_options_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetServiceOptions, kDump);
}

Result<std::vector<NamedServiceOptions>> read_service_options(std::span<const Message> answer) {
  return read_all<NamedServiceOptions>(answer, SluiceCommand::kNewServiceOptions,
                                       [](const MessageView& view) {
                                         const auto table = open(view);
                                         return table ? named_options_of(*table) : std::nullopt;
                                       });
}

Message end_connections_request(const RequestContext& context,
                                const model::ConnectionSelection& selection) {
  return removal_request(context, SluiceCommand::kEndConnections, [&](MessageWriter& writer) {
    if (selection.service) put_key(writer, *selection.service);
    if (selection.server) writer.put_bytes(kServerAddress, sized_bytes(*selection.server));
    if (selection.server_port) writer.put_be16(kServerPort, *selection.server_port);
    if (selection.client) writer.put_bytes(kClientAddress, sized_bytes(*selection.client));
  });
}

Result<NamedServiceOptions> parse_service_options_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return tl::unexpected(table.error());
  const auto service = named_options_of(*table);
  if (!service) return failure(EINVAL);
  return *service;
}

Result<model::ConnectionSelection> parse_end_connections_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return tl::unexpected(table.error());
  model::ConnectionSelection selection;
  if (table->has(kFamily)) {
    selection.service = key_of(*table);
    if (!selection.service) return failure(EINVAL);
  }
  selection.server = sized_address(table->bytes(kServerAddress));
  selection.client = sized_address(table->bytes(kClientAddress));
  if (selection.server.has_value() != table->has(kServerAddress)) return failure(EINVAL);
  if (selection.client.has_value() != table->has(kClientAddress)) return failure(EINVAL);
  if (table->has(kServerPort)) selection.server_port = table->be16(kServerPort);
  if (!selection.is_limited()) return failure(EINVAL);
  return selection;
}

void encode_service_options(Message& out, const MessageView& request, std::uint32_t port_id,
                            std::uint16_t flags, const NamedServiceOptions& service) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewServiceOptions,
             nested(kRemovalAttribute, [&](MessageWriter& writer) {
               put_key(writer, service.key);
               put_options(writer, service.options);
             }));
}

}  // namespace lb::wire
