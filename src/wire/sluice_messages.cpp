// SPDX-License-Identifier: Apache-2.0
#include "wire/sluice_messages.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/bytes.hpp"
#include "wire/framing.hpp"
#include "wire/mark_messages.hpp"
#include "wire/removal_messages.hpp"
#include "wire/snat_messages.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::wire {
namespace {

/// Attributes of all commands. Numbers are part of the protocol: never reuse one.
enum SluiceAttribute : unsigned {
  kProtocol = 1,   // u16
  kClientAddress,  // 4 or 16 bytes; so are the others
  kClientPort,     // be16; so are the others
  kVirtualAddress,
  kVirtualPort,
  kDestinationAddress,
  kDestinationPort,
  kState,               // text
  kExpires,             // u32, seconds
  kVersion,             // text
  kUptime,              // u64, seconds
  kServices,            // u64
  kConnections,         // u64
  kConnectionCapacity,  // u64
  kTotals,              // nest as IPVS's STATS64
  kCounters,            // nest of nests numbered from 1, each with kName and kCount
  kDrops,               // likewise
  kInterface,           // text
  kXdpMode,             // text
  kNote,                // text
  kName,                // text
  kValue,               // text
  kCount,               // u64
  kPersistenceEngine,   // text
  kPersistenceData,     // text: what a template's engine knows it by
  kHealth,              // text
  kMarkRule,            // nest of mark_messages.cpp
  kFilePiece,           // bytes
  kTransaction,         // nest of transaction_messages.cpp
  kRemoval,             // nest of removal_messages.cpp
  kStopMode,            // u16
  kSnat,                // nest of snat_messages.cpp
  kSnatRule,            // text: the rule of a connection of source NAT
};
static_assert(kMarkRule == kMarkRuleAttribute && kTransaction == kTransactionAttribute &&
              kRemoval == kRemovalAttribute && kSnat == kSnatAttribute &&
              kSnatRule == kSluiceHighestAttribute);

constexpr AttributeRule kText{AttributeRule::Kind::kText, 4095};

constexpr auto kRules = [] {
  std::array<AttributeRule, kSluiceHighestAttribute + 1> rules{};
  for (const auto type : {kProtocol, kClientPort, kVirtualPort, kDestinationPort, kStopMode}) {
    rules[type] = kU16;
  }
  for (const auto type : {kClientAddress, kVirtualAddress, kDestinationAddress}) {
    rules[type] = kAddressBytes;
  }
  for (const auto type : {kState, kVersion, kInterface, kXdpMode, kNote, kName, kValue,
                          kPersistenceEngine, kPersistenceData, kHealth, kSnatRule}) {
    rules[type] = kText;
  }
  rules[kExpires] = kU32;
  for (const auto type : {kUptime, kServices, kConnections, kConnectionCapacity, kCount}) {
    rules[type] = kU64;
  }
  for (const auto type : {kTotals, kCounters, kDrops, kMarkRule, kTransaction, kRemoval, kSnat}) {
    rules[type] = kNested;
  }
  rules[kFilePiece] = {AttributeRule::Kind::kAtMost, kMaxFilePiece};
  return rules;
}();

// A nest has a 16-bit length; so many counters with names of that length fit one.
constexpr std::size_t kMaxCounters = 512;
constexpr std::size_t kMaxCounterName = 63;

void put_endpoint(MessageWriter& writer, unsigned address, unsigned port,
                  const net::Endpoint& end) {
  writer.put_bytes(address, sized_bytes(end.address));
  writer.put_be16(port, end.port);
}

std::optional<net::Endpoint> endpoint_of(const AttributeTable& table, unsigned address,
                                         unsigned port) {
  const auto found = sized_address(table.bytes(address));
  if (!found) return std::nullopt;
  return net::Endpoint{.address = *found, .port = table.be16(port)};
}

void put_counters(MessageWriter& writer, unsigned type, std::span<const NamedCounter> counters) {
  const auto list = writer.begin_nest(type);
  unsigned index = 0;
  for (const auto& counter : counters.first(std::min(counters.size(), kMaxCounters))) {
    const auto item = writer.begin_nest(++index);
    writer.put_string(kName, std::string_view(counter.name).substr(0, kMaxCounterName));
    writer.put_u64(kCount, counter.value);
    writer.end_nest(item);
  }
  writer.end_nest(list);
}

std::vector<NamedCounter> counters_of(std::span<const std::byte> list) {
  std::vector<NamedCounter> counters;
  while (const auto item = take_attribute(list)) {
    const auto table = AttributeTable::parse(item->data, kRules);
    if (!table || !table->has(kName) || !table->has(kCount)) continue;
    counters.push_back({.name = std::string(table->text(kName)), .value = table->u64(kCount)});
  }
  return counters;
}

Result<AttributeTable> open(const MessageView& message) {
  return AttributeTable::parse(message.attributes, kRules);
}

std::optional<model::ConnectionInfo> connection_of(const MessageView& message) {
  const auto table = open(message);
  if (!table) return std::nullopt;
  const auto client = endpoint_of(*table, kClientAddress, kClientPort);
  const auto virtual_end = endpoint_of(*table, kVirtualAddress, kVirtualPort);
  const auto destination = endpoint_of(*table, kDestinationAddress, kDestinationPort);
  if (!client || !virtual_end || !destination) return std::nullopt;
  return model::ConnectionInfo{.protocol = static_cast<net::Protocol>(table->u16(kProtocol)),
                               .client = *client,
                               .virtual_end = *virtual_end,
                               .destination = *destination,
                               .state = table->text(kState),
                               .expires_in = table->u32(kExpires),
                               .persistence_engine = table->text(kPersistenceEngine),
                               .persistence_data = std::string(table->text(kPersistenceData)),
                               .snat_rule = table->text(kSnatRule)};
}

std::optional<Setting> setting_of(const MessageView& message) {
  const auto table = open(message);
  if (!table || !table->has(kName)) return std::nullopt;
  return Setting{.name = std::string(table->text(kName)),
                 .value = std::string(table->text(kValue))};
}

DirectorStatus director_of(const AttributeTable& table) {
  return {.version = std::string(table.text(kVersion)),
          .uptime_seconds = table.u64(kUptime),
          .services = table.u64(kServices),
          .connections = table.u64(kConnections),
          .connection_capacity = table.u64(kConnectionCapacity),
          .totals = read_statistics64(table.bytes(kTotals)),
          .counters = counters_of(table.bytes(kCounters)),
          .drops = counters_of(table.bytes(kDrops)),
          .health = std::string(table.text(kHealth))};
}

InterfaceStatus interface_of(const AttributeTable& table) {
  return {.name = std::string(table.text(kInterface)),
          .xdp_mode = std::string(table.text(kXdpMode)),
          .note = std::string(table.text(kNote)),
          .counters = counters_of(table.bytes(kCounters))};
}

}  // namespace

Message list_connections_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetConnections, kDump);
}
Message status_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetStatus, kDump);
}
Message list_settings_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetSetting, kDump);
}
Message get_setting_request(const RequestContext& context, std::string_view name) {
  return make_request(context, SluiceCommand::kGetSetting, kDo,
                      [&](MessageWriter& writer) { writer.put_string(kName, name); });
}
Message set_setting_request(const RequestContext& context, const Setting& setting) {
  return make_request(context, SluiceCommand::kSetSetting, kDo, [&](MessageWriter& writer) {
    writer.put_string(kName, setting.name);
    writer.put_string(kValue, setting.value);
  });
}

Message find_file_request(const RequestContext& context, std::string_view path) {
  return make_request(context, SluiceCommand::kGetFile, kDo,
                      [&](MessageWriter& writer) { writer.put_string(kName, path); });
}
Message read_file_request(const RequestContext& context, std::string_view path) {
  return make_request(context, SluiceCommand::kGetFile, kDump,
                      [&](MessageWriter& writer) { writer.put_string(kName, path); });
}

Message stop_request(const RequestContext& context, StopMode mode) {
  return make_request(context, SluiceCommand::kStop, kDo, [&](MessageWriter& writer) {
    writer.put_u16(kStopMode, static_cast<std::uint16_t>(mode));
  });
}

Result<std::vector<model::ConnectionInfo>> read_connections(std::span<const Message> answer) {
  return read_all<model::ConnectionInfo>(answer, SluiceCommand::kNewConnection, connection_of);
}

Result<Status> read_status(std::span<const Message> answer) {
  Status status;
  bool has_director = false;
  const auto result = visit_answer(answer, [&](const MessageView& message) {
    const auto table = open(message);
    if (!table) return false;
    const auto command = static_cast<SluiceCommand>(message.header.command);
    if (command == SluiceCommand::kNewStatus) {
      status.director = director_of(*table);
      has_director = true;
    } else if (command == SluiceCommand::kNewInterface) {
      status.interfaces.push_back(interface_of(*table));
    }
    return true;  // a newer director may tell more
  });
  if (!result) return tl::unexpected(result.error());
  if (!has_director) return failure(EBADMSG);
  return status;
}

Result<std::vector<Setting>> read_settings(std::span<const Message> answer) {
  return read_all<Setting>(answer, SluiceCommand::kNewSetting, setting_of);
}

std::string_view file_piece(const MessageView& message) noexcept {
  const auto command = static_cast<SluiceCommand>(message.header.command);
  if (!message.has_command || command != SluiceCommand::kNewFile) return {};
  const auto table = open(message);
  if (!table) return {};
  return net::as_text(table->bytes(kFilePiece));
}

Result<std::string> parse_file_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return tl::unexpected(table.error());
  if (table->text(kName).empty()) return failure(EINVAL);
  return std::string(table->text(kName));
}

Result<Setting> parse_setting_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return tl::unexpected(table.error());
  return Setting{.name = std::string(table->text(kName)),
                 .value = std::string(table->text(kValue))};
}

Result<StopMode> parse_stop_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return tl::unexpected(table.error());
  if (table->u16(kStopMode) > static_cast<unsigned>(StopMode::kRemove)) return failure(EINVAL);
  return static_cast<StopMode>(table->u16(kStopMode));
}

void encode_connection(Message& out, const MessageView& request, std::uint32_t port_id,
                       std::uint16_t flags, const model::ConnectionInfo& connection) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewConnection,
             [&](MessageWriter& writer) {
               writer.put_u16(kProtocol, static_cast<std::uint16_t>(connection.protocol));
               put_endpoint(writer, kClientAddress, kClientPort, connection.client);
               put_endpoint(writer, kVirtualAddress, kVirtualPort, connection.virtual_end);
               put_endpoint(writer, kDestinationAddress, kDestinationPort, connection.destination);
               writer.put_string(kState, connection.state.view());
               writer.put_u32(kExpires, connection.expires_in);
               if (!connection.persistence_engine.empty()) {
                 writer.put_string(kPersistenceEngine, connection.persistence_engine.view());
                 writer.put_string(kPersistenceData, connection.persistence_data);
               }
               if (!connection.snat_rule.empty())
                 writer.put_string(kSnatRule, connection.snat_rule.view());
             });
}

void encode_status(Message& out, const MessageView& request, std::uint32_t port_id,
                   std::uint16_t flags, const DirectorStatus& status) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewStatus, [&](MessageWriter& writer) {
    writer.put_string(kVersion, status.version);
    writer.put_u64(kUptime, status.uptime_seconds);
    writer.put_u64(kServices, status.services);
    writer.put_u64(kConnections, status.connections);
    writer.put_u64(kConnectionCapacity, status.connection_capacity);
    put_statistics64(writer, kTotals, status.totals);
    put_counters(writer, kCounters, status.counters);
    put_counters(writer, kDrops, status.drops);
    writer.put_string(kHealth, std::string_view(status.health).substr(0, kText.size));
  });
}

void encode_interface(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, const InterfaceStatus& interface) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewInterface,
             [&](MessageWriter& writer) {
               writer.put_string(kInterface, interface.name);
               writer.put_string(kXdpMode, interface.xdp_mode);
               writer.put_string(kNote, std::string_view(interface.note).substr(0, kText.size));
               put_counters(writer, kCounters, interface.counters);
             });
}

void encode_setting(Message& out, const MessageView& request, std::uint32_t port_id,
                    std::uint16_t flags, const Setting& setting) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewSetting, [&](MessageWriter& writer) {
    writer.put_string(kName, setting.name);
    writer.put_string(kValue, setting.value);
  });
}

void encode_file_piece(Message& out, const MessageView& request, std::uint32_t port_id,
                       std::uint16_t flags, std::string_view piece) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewFile, [&](MessageWriter& writer) {
    writer.put_bytes(kFilePiece, std::as_bytes(std::span(piece.substr(0, kMaxFilePiece))));
  });
}

}  // namespace lb::wire
