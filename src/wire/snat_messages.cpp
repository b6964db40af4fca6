// SPDX-License-Identifier: Apache-2.0
#include "wire/snat_messages.hpp"

#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "wire/ipvs_attributes.hpp"
#include "wire/sluice_messages.hpp"

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

constexpr AttributeRule kU64{AttributeRule::Kind::kAtLeast, 8};
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

constexpr auto kTopRules = [] {
  std::array<AttributeRule, kSnatAttribute + 1> rules{};
  rules[kSnatAttribute] = kNested;
  return rules;
}();

// Writing.

std::span<const std::byte> bytes_of(const net::IpAddress& address) {
  return std::as_bytes(std::span(address.bytes())).first(address.size());
}

void put_number(MessageWriter& writer, unsigned type, std::uint32_t value) {
  if (value != 0) writer.put_u32(type, value);
}

void put_prefix(MessageWriter& writer, unsigned address, unsigned length,
                const model::PrefixMatch& match) {
  writer.put_bytes(address, bytes_of(match.address));
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
      const auto bytes = bytes_of(end);
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

std::optional<net::IpAddress> address_of(std::span<const std::byte> bytes) {
  const bool is_v4 = bytes.size() == 4;
  if (!is_v4 && bytes.size() != kLargestAddress) return std::nullopt;
  return make_address(is_v4 ? net::Family::kIpv4 : net::Family::kIpv6, address_bytes(bytes));
}

bool read_prefix(const AttributeTable& table, unsigned address, unsigned length,
                 model::PrefixMatch& match) {
  if (!table.has(address)) return !table.has(length);
  const auto found = address_of(table.bytes(address));
  if (!found || table.u16(length) > found->size() * 8) return false;
  match.address = *found;
  match.length = static_cast<std::uint8_t>(table.u16(length));
  return true;
}

bool read_pool(std::span<const std::byte> bytes, SnatRule& rule) {
  const auto size = net::IpAddress::any(rule.family).size();
  if (bytes.size() % (2 * size) != 0) return false;
  for (; !bytes.empty(); bytes = bytes.subspan(2 * size)) {
    const auto first = address_of(bytes.first(size));
    const auto last = address_of(bytes.subspan(size, size));
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
                           .last_refused = address_of(table.bytes(kLastRefused)),
                           .last_refused_destination = {}};
  if (const auto wanted = address_of(table.bytes(kLastRefusedDestination))) {
    info.last_refused_destination.address = *wanted;
    info.last_refused_destination.port = table.be16(kLastRefusedPort);
  }
  return info;
}

/// The table in the nest of a message; null: there is none, or it is broken.
std::optional<AttributeTable> open(const MessageView& view) {
  const auto top = AttributeTable::parse(view.attributes, kTopRules);
  if (!top || !top->has(kSnatAttribute)) return std::nullopt;
  const auto table = AttributeTable::parse(top->bytes(kSnatAttribute), kRules);
  return table ? std::optional(*table) : std::nullopt;
}

template <class Fill>
void write(Message& out, const MessageHeader& header, Fill fill) {
  MessageWriter writer(out);
  writer.begin(header);
  const auto nest = writer.begin_nest(kSnatAttribute);
  fill(writer);
  writer.end_nest(nest);
  writer.end();
}

template <class Fill>
Message request_message(const RequestContext& context, SluiceCommand command, Fill fill) {
  constexpr std::uint16_t kDo = NLM_F_REQUEST | NLM_F_ACK;
  const bool is_dump = command == SluiceCommand::kGetSnatRules;
  Message message;
  write(message,
        {.type = context.family,
         .flags = static_cast<std::uint16_t>(is_dump ? kDo | NLM_F_DUMP : kDo),
         .sequence = context.sequence,
         .port_id = context.port_id,
         .command = static_cast<std::uint8_t>(command)},
        fill);
  return message;
}

MessageHeader answer_header(const MessageView& request, std::uint32_t port_id, std::uint16_t flags,
                            SluiceCommand command) {
  return {.type = kSluiceFamily,
          .flags = flags,
          .sequence = request.header.sequence,
          .port_id = port_id,
          .command = static_cast<std::uint8_t>(command)};
}

void put_nothing(MessageWriter&) {}

auto name_of(const model::Name& name) {
  return [name](MessageWriter& writer) {
    if (!name.empty()) writer.put_string(kName, name.view());
  };
}

}  // namespace

Message list_snat_rules_request(const RequestContext& context) {
  return request_message(context, SluiceCommand::kGetSnatRules, put_nothing);
}
Message add_snat_rule_request(const RequestContext& context, const SnatRule& rule) {
  return request_message(context, SluiceCommand::kAddSnatRule,
                         [&](MessageWriter& writer) { put_rule(writer, rule); });
}
Message check_snat_rule_request(const RequestContext& context, const SnatRule& rule) {
  return request_message(context, SluiceCommand::kCheckSnatRule,
                         [&](MessageWriter& writer) { put_rule(writer, rule); });
}
Message delete_snat_rule_request(const RequestContext& context, const model::Name& name) {
  return request_message(context, SluiceCommand::kDeleteSnatRule, name_of(name));
}
Message flush_snat_rules_request(const RequestContext& context) {
  return request_message(context, SluiceCommand::kFlushSnatRules, put_nothing);
}
Message zero_snat_rules_request(const RequestContext& context, const model::Name& name) {
  return request_message(context, SluiceCommand::kZeroSnatRules, name_of(name));
}

Result<std::vector<model::SnatRuleInfo>> read_snat_rules(std::span<const Message> answer) {
  if (auto result = outcome(answer); !result) return tl::unexpected(result.error());
  std::vector<model::SnatRuleInfo> rules;
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (!view || !view->has_command) continue;
    const bool is_rule =
        static_cast<SluiceCommand>(view->header.command) == SluiceCommand::kNewSnatRule;
    const auto table = is_rule ? open(*view) : std::nullopt;
    const auto info = table ? info_of(*table) : std::nullopt;
    if (!info) return failure(EBADMSG);
    rules.push_back(*info);
  }
  return rules;
}

Result<std::optional<model::SnatConflict>> read_snat_conflict(std::span<const Message> answer) {
  if (auto result = outcome(answer); !result) return tl::unexpected(result.error());
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (!view || !view->has_command) continue;
    const auto table = open(*view);
    if (!table) break;
    if (!table->has(kConflictKind)) return std::nullopt;
    if (table->u16(kConflictKind) > static_cast<unsigned>(model::SnatConflictKind::kAddress)) break;
    return model::SnatConflict{
        .kind = static_cast<model::SnatConflictKind>(table->u16(kConflictKind)),
        .other = table->text(kConflictOther),
        .address = address_of(table->bytes(kConflictAddress)).value_or(net::IpAddress())};
  }
  return failure(EBADMSG);
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
  write(out, answer_header(request, port_id, flags, SluiceCommand::kNewSnatRule),
        [&](MessageWriter& writer) {
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
          writer.put_bytes(kLastRefused, bytes_of(*info.last_refused));
          const auto& wanted = info.last_refused_destination;
          writer.put_bytes(kLastRefusedDestination, bytes_of(wanted.address));
          writer.put_be16(kLastRefusedPort, wanted.port);
        });
}

void encode_snat_conflict(Message& out, const MessageView& request, std::uint32_t port_id,
                          const std::optional<model::SnatConflict>& conflict) {
  write(out, answer_header(request, port_id, 0, SluiceCommand::kNewSnatConflict),
        [&](MessageWriter& writer) {
          if (!conflict) return;
          writer.put_u16(kConflictKind, static_cast<std::uint16_t>(conflict->kind));
          writer.put_string(kConflictOther, conflict->other.view());
          writer.put_bytes(kConflictAddress, bytes_of(conflict->address));
        });
}

}  // namespace lb::wire
