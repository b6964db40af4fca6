// SPDX-License-Identifier: Apache-2.0
#include "wire/snat_messages.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "wire/framing.hpp"

namespace lb::wire {
namespace {

using model::SnatRule;

/// Inside the nest. Numbers are part of the protocol: never reuse one. What is not set is left
/// out.
enum SnatRuleAttribute : unsigned {
  kName = 1,      // text
  kFamily,        // u16; there is a rule if this is there
  kProtocol,      // u16
  kInside,        // 4 or 16 bytes; so are the other addresses
  kInsideLength,  // u16, bits; so is kDestinationLength
  kDestination,
  kDestinationLength,
  kInterface,  // text
  kKind,       // u16
  kPool,       // pairs of addresses, first and last
  kFirstPort,  // u16; so is kLastPort
  kLastPort,
  kClientLimit,  // u32
  kTimeoutTcp,   // u32, seconds; so are the others
  kTimeoutTcpTransitory,
  kTimeoutUdp,
  kTimeoutIcmp,
  // Of a listing.
  kActive,  // u32; so are the next two
  kInactive,
  kClients,
  kStatistics,   // nest as IPVS's STATS64
  kRefusedPool,  // u64; so are the next two
  kRefusedLimit,
  kRefusedTable,
  kLastRefusal,  // u16
  kLastRefused,
  kLastRefusedDestination,
  kLastRefusedPort,  // be16
  // Of a conflict.
  kConflictKind,   // u16
  kConflictOther,  // text
  kConflictAddress,
  kSnatRuleAttributes,
};

constexpr AttributeRule kNameText{AttributeRule::Kind::kText, model::Name::kMaxLength};
constexpr std::size_t kLargestAddress = 16;
constexpr AttributeRule kRanges{AttributeRule::Kind::kAtMost,
                                2 * kLargestAddress* SnatRule::kMaxRanges};

constexpr auto kRules = [] {
  std::array<AttributeRule, kSnatRuleAttributes> rules{};
  for (const auto type : {kName, kInterface, kConflictOther}) rules[type] = kNameText;
  for (const auto type : {kFamily, kProtocol, kInsideLength, kDestinationLength, kKind, kFirstPort,
                          kLastPort, kLastRefusal, kLastRefusedPort, kConflictKind}) {
    rules[type] = kU16;
  }
  for (const auto type :
       {kInside, kDestination, kLastRefused, kLastRefusedDestination, kConflictAddress}) {
    rules[type] = kAddressBytes;
  }
  for (const auto type : {kClientLimit, kTimeoutTcp, kTimeoutTcpTransitory, kTimeoutUdp,
                          kTimeoutIcmp, kActive, kInactive, kClients}) {
    rules[type] = kU32;
  }
  for (const auto type : {kRefusedPool, kRefusedLimit, kRefusedTable}) rules[type] = kU64;
  rules[kPool] = kRanges;
  rules[kStatistics] = kNested;
  return rules;
}();

// Writing.

void put_number(MessageWriter& writer, unsigned type, std::uint32_t value) {
  if (value != 0) writer.put_u32(type, value);
}

void put_prefix(MessageWriter& writer, unsigned address, unsigned length,
                const model::PrefixMatch& match) {
  writer.put_bytes(address, sized_bytes(match.address));
  writer.put_u16(length, match.length);
}

void put_rule(MessageWriter& writer, const SnatRule& rule) {
  writer.put_string(kName, rule.name.view());
  writer.put_u16(kFamily, static_cast<std::uint16_t>(rule.family));
  if (rule.protocol != 0) writer.put_u16(kProtocol, rule.protocol);
  put_prefix(writer, kInside, kInsideLength, rule.inside);
  put_prefix(writer, kDestination, kDestinationLength, rule.destination);
  if (!rule.interface.empty()) writer.put_string(kInterface, rule.interface.view());
  writer.put_u16(kKind, static_cast<std::uint16_t>(rule.kind));
  std::vector<std::byte> pool;
  for (std::size_t i = 0; i < std::min<std::size_t>(rule.pool_count, SnatRule::kMaxRanges); ++i) {
    for (const auto& end : {rule.pool[i].first, rule.pool[i].last}) {
      const auto bytes = sized_bytes(end);
      pool.insert(pool.end(), bytes.begin(), bytes.end());
    }
  }
  writer.put_bytes(kPool, pool);
  if (rule.has_ports()) {
    writer.put_u16(kFirstPort, rule.ports.first);
    writer.put_u16(kLastPort, rule.ports.last);
  }
  put_number(writer, kClientLimit, rule.client_limit);
  put_number(writer, kTimeoutTcp, rule.timeouts.tcp);
  put_number(writer, kTimeoutTcpTransitory, rule.timeouts.tcp_transitory);
  put_number(writer, kTimeoutUdp, rule.timeouts.udp);
  put_number(writer, kTimeoutIcmp, rule.timeouts.icmp);
}

// Reading. Whether the parts fit each other is checked by model::fault_of.

bool read_prefix(const AttributeTable& table, unsigned address, unsigned length,
                 model::PrefixMatch& match) {
  if (!table.has(address)) return !table.has(length);
  const auto found = sized_address(table.bytes(address));
  if (!found || table.u16(length) > found->size() * 8) return false;
  match.address = *found;
  match.length = static_cast<std::uint8_t>(table.u16(length));
  return true;
}

bool read_pool(std::span<const std::byte> bytes, SnatRule& rule) {
  const auto size = net::IpAddress::any(rule.family).size();
  if (bytes.size() % (2 * size) != 0) return false;
  for (; !bytes.empty(); bytes = bytes.subspan(2 * size)) {
    const auto first = sized_address(bytes.first(size));
    const auto last = sized_address(bytes.subspan(size, size));
    if (!first || !last || !rule.add({.first = *first, .last = *last})) return false;
  }
  return true;
}

std::optional<SnatRule> rule_of(const AttributeTable& table) {
  SnatRule rule;
  rule.name = table.text(kName);
  rule.family = static_cast<net::Family>(table.u16(kFamily));
  if (table.u16(kFamily) != static_cast<std::uint16_t>(rule.family) ||
      (rule.family != net::Family::kIpv4 && rule.family != net::Family::kIpv6) ||
      table.u16(kProtocol) > UINT8_MAX ||
      table.u16(kKind) > static_cast<unsigned>(model::SnatKind::kStatic)) {
    return std::nullopt;
  }
  rule.protocol = static_cast<std::uint8_t>(table.u16(kProtocol));
  rule.kind = static_cast<model::SnatKind>(table.u16(kKind));
  rule.inside = rule.destination = model::MarkRule::any(rule.family);
  if (!read_prefix(table, kInside, kInsideLength, rule.inside) ||
      !read_prefix(table, kDestination, kDestinationLength, rule.destination) ||
      !read_pool(table.bytes(kPool), rule)) {
    return std::nullopt;
  }
  rule.interface = table.text(kInterface);
  rule.ports = {.first = table.u16(kFirstPort), .last = table.u16(kLastPort)};
  rule.client_limit = table.u32(kClientLimit);
  rule.timeouts = {.tcp = table.u32(kTimeoutTcp),
                   .tcp_transitory = table.u32(kTimeoutTcpTransitory),
                   .udp = table.u32(kTimeoutUdp),
                   .icmp = table.u32(kTimeoutIcmp)};
  return rule;
}

std::optional<model::SnatRuleInfo> info_of(const AttributeTable& table) {
  const auto rule = rule_of(table);
  if (!rule || model::fault_of(*rule) != model::SnatFault::kNone ||
      table.u16(kLastRefusal) > static_cast<unsigned>(model::SnatRefusal::kTableFull)) {
    return std::nullopt;
  }
  model::SnatRuleInfo info{.rule = *rule,
                           .active_connections = table.u32(kActive),
                           .inactive_connections = table.u32(kInactive),
                           .clients = table.u32(kClients),
                           .statistics = read_statistics64(table.bytes(kStatistics)),
                           .refused_pool = table.u64(kRefusedPool),
                           .refused_limit = table.u64(kRefusedLimit),
                           .refused_table = table.u64(kRefusedTable),
                           .last_refusal = static_cast<model::SnatRefusal>(table.u16(kLastRefusal)),
                           .last_refused = sized_address(table.bytes(kLastRefused)),
                           .last_refused_destination = {}};
  if (const auto wanted = sized_address(table.bytes(kLastRefusedDestination))) {
    info.last_refused_destination.address = *wanted;
    info.last_refused_destination.port = table.be16(kLastRefusedPort);
  }
  return info;
}

Result<AttributeTable> open(const MessageView& message) {
  return open_nest<kSnatAttribute>(message, kRules);
}

/// A request with an attribute that holds what `fill` puts into it.
template <class Fill>
Message snat_request(const RequestContext& context, SluiceCommand command, Fill fill) {
  return make_request(context, command, kDo, nested(kSnatAttribute, fill));
}

auto name_of(const model::Name& name) {
  return [name](MessageWriter& writer) {
    if (!name.empty()) writer.put_string(kName, name.view());
  };
}

}  // namespace

Message list_snat_rules_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetSnatRules, kDump);
}
Message add_snat_rule_request(const RequestContext& context, const SnatRule& rule) {
  return snat_request(context, SluiceCommand::kAddSnatRule,
                      [&](MessageWriter& writer) { put_rule(writer, rule); });
}
Message check_snat_rule_request(const RequestContext& context, const SnatRule& rule) {
  return snat_request(context, SluiceCommand::kCheckSnatRule,
                      [&](MessageWriter& writer) { put_rule(writer, rule); });
}
Message delete_snat_rule_request(const RequestContext& context, const model::Name& name) {
  return snat_request(context, SluiceCommand::kDeleteSnatRule, name_of(name));
}
Message flush_snat_rules_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kFlushSnatRules);
}
Message zero_snat_rules_request(const RequestContext& context, const model::Name& name) {
  return snat_request(context, SluiceCommand::kZeroSnatRules, name_of(name));
}

Result<std::vector<model::SnatRuleInfo>> read_snat_rules(std::span<const Message> answer) {
  return read_all<model::SnatRuleInfo>(answer, SluiceCommand::kNewSnatRule,
                                       [](const MessageView& view) {
                                         const auto table = open(view);
                                         return table ? info_of(*table) : std::nullopt;
                                       });
}

Result<std::optional<model::SnatConflict>> read_snat_conflict(std::span<const Message> answer) {
  using Told = std::optional<model::SnatConflict>;
  return only(read_all<Told>(
      answer, SluiceCommand::kNewSnatConflict, [](const MessageView& view) -> std::optional<Told> {
        const auto table = open(view);
        if (!table) return std::nullopt;
        if (!table->has(kConflictKind)) return Told();
        const auto kind = static_cast<model::SnatConflictKind>(table->u16(kConflictKind));
        if (kind > model::SnatConflictKind::kAddress) return std::nullopt;
        return model::SnatConflict{
            .kind = kind,
            .other = table->text(kConflictOther),
            .address = sized_address(table->bytes(kConflictAddress)).value_or(net::IpAddress())};
      }));
}

Result<SnatRule> parse_snat_rule_request(const MessageView& request) {
  const auto table = open(request);
  const auto rule = table ? rule_of(*table) : std::nullopt;
  if (!rule) return failure(EINVAL);
  return *rule;
}

Result<model::Name> parse_snat_name_request(const MessageView& request) {
  const auto table = open(request);
  if (!table) return failure(EINVAL);
  return model::Name(table->text(kName));
}

void encode_snat_rule(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, const model::SnatRuleInfo& info) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewSnatRule,
             nested(kSnatAttribute, [&](MessageWriter& writer) {
               put_rule(writer, info.rule);
               writer.put_u32(kActive, info.active_connections);
               writer.put_u32(kInactive, info.inactive_connections);
               writer.put_u32(kClients, info.clients);
               put_statistics64(writer, kStatistics, info.statistics);
               writer.put_u64(kRefusedPool, info.refused_pool);
               writer.put_u64(kRefusedLimit, info.refused_limit);
               writer.put_u64(kRefusedTable, info.refused_table);
               if (!info.last_refused) return;
               writer.put_u16(kLastRefusal, static_cast<std::uint16_t>(info.last_refusal));
               writer.put_bytes(kLastRefused, sized_bytes(*info.last_refused));
               const auto& wanted = info.last_refused_destination;
               writer.put_bytes(kLastRefusedDestination, sized_bytes(wanted.address));
               writer.put_be16(kLastRefusedPort, wanted.port);
             }));
}

void encode_snat_conflict(Message& out, const MessageView& request, std::uint32_t port_id,
                          const std::optional<model::SnatConflict>& conflict) {
  put_answer(out, request, port_id, 0, SluiceCommand::kNewSnatConflict,
             nested(kSnatAttribute, [&](MessageWriter& writer) {
               if (!conflict) return;
               writer.put_u16(kConflictKind, static_cast<std::uint16_t>(conflict->kind));
               writer.put_string(kConflictOther, conflict->other.view());
               writer.put_bytes(kConflictAddress, sized_bytes(conflict->address));
             }));
}

}  // namespace lb::wire
