// SPDX-License-Identifier: Apache-2.0
#include "wire/mark_messages.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/bytes.hpp"
#include "wire/framing.hpp"

namespace lb::wire {
namespace {

/// Inside a rule. Numbers are part of the protocol: never reuse one. What a rule does not ask for
/// is left out.
enum RuleAttribute : unsigned {
  kFamily = 1,    // u16
  kProtocol,      // u16
  kSource,        // 4 or 16 bytes; so is kDestination
  kSourceLength,  // u16, bits; so is kDestinationLength
  kDestination,
  kDestinationLength,
  kSourcePorts,  // pairs of u16, first and last; so are the others
  kDestinationPorts,
  kEitherPort,
  kInterface,  // text
  kNot,        // u32 of `Negation`
  kAction,     // u16
  kMarkValue,  // u32
  kMarkMask,   // u32
  kPosition,   // u32
  kPackets,    // u64
  kBytes,      // u64
  kRuleAttributes,
};

enum Negation : std::uint32_t {
  kNotProtocol = 1,
  kNotSource = 2,
  kNotDestination = 4,
  kNotSourcePorts = 8,
  kNotDestinationPorts = 16,
  kNotEitherPort = 32,
  kNotInterface = 64,
};

constexpr std::size_t kRangeSize = 4;
constexpr AttributeRule kRanges{AttributeRule::Kind::kAtMost,
                                model::PortMatch::kMaxRanges* kRangeSize};
constexpr AttributeRule kInterfaceName{AttributeRule::Kind::kText, model::Name::kMaxLength};

constexpr auto kRules = [] {
  std::array<AttributeRule, kRuleAttributes> rules{};
  for (const auto type : {kFamily, kProtocol, kSourceLength, kDestinationLength, kAction}) {
    rules[type] = kU16;
  }
  for (const auto type : {kSource, kDestination}) rules[type] = kAddressBytes;
  for (const auto type : {kSourcePorts, kDestinationPorts, kEitherPort}) rules[type] = kRanges;
  for (const auto type : {kNot, kMarkValue, kMarkMask, kPosition}) rules[type] = kU32;
  for (const auto type : {kPackets, kBytes}) rules[type] = kU64;
  rules[kInterface] = kInterfaceName;
  return rules;
}();

// Writing.

void put_prefix(MessageWriter& writer, unsigned address, unsigned length,
                const model::PrefixMatch& match) {
  if (match.length == 0 && !match.is_negated) return;
  writer.put_bytes(address, sized_bytes(match.address));
  writer.put_u16(length, match.length);
}

void put_ports(MessageWriter& writer, unsigned type, const model::PortMatch& match) {
  if (!match.is_asked()) return;
  std::array<std::byte, model::PortMatch::kMaxRanges * kRangeSize> bytes{};
  for (std::size_t i = 0; i < match.count; ++i) {
    net::store(std::span<std::byte>(bytes), i * kRangeSize, match.ranges[i].first);
    net::store(std::span<std::byte>(bytes), i * kRangeSize + 2, match.ranges[i].last);
  }
  writer.put_bytes(type, std::span<const std::byte>(bytes).first(match.count * kRangeSize));
}

std::uint32_t negations(const model::MarkRule& rule) {
  return (rule.is_protocol_negated ? kNotProtocol : 0U) |
         (rule.source.is_negated ? kNotSource : 0U) |
         (rule.destination.is_negated ? kNotDestination : 0U) |
         (rule.source_ports.is_negated ? kNotSourcePorts : 0U) |
         (rule.destination_ports.is_negated ? kNotDestinationPorts : 0U) |
         (rule.either_port.is_negated ? kNotEitherPort : 0U) |
         (rule.is_interface_negated ? kNotInterface : 0U);
}

void put_rule(MessageWriter& writer, const model::MarkRule& rule) {
  writer.put_u16(kFamily, static_cast<std::uint16_t>(rule.family));
  if (rule.protocol != 0) writer.put_u16(kProtocol, rule.protocol);
  put_prefix(writer, kSource, kSourceLength, rule.source);
  put_prefix(writer, kDestination, kDestinationLength, rule.destination);
  put_ports(writer, kSourcePorts, rule.source_ports);
  put_ports(writer, kDestinationPorts, rule.destination_ports);
  put_ports(writer, kEitherPort, rule.either_port);
  if (!rule.interface.empty()) writer.put_string(kInterface, rule.interface.view());
  if (negations(rule) != 0) writer.put_u32(kNot, negations(rule));
  writer.put_u16(kAction, static_cast<std::uint16_t>(rule.action));
  writer.put_u32(kMarkValue, rule.value);
  writer.put_u32(kMarkMask, rule.mask);
}

// Reading. Whether the parts fit each other is checked at the end, by model::is_valid.

bool read_prefix(const AttributeTable& table, unsigned address, unsigned length,
                 model::PrefixMatch& match) {
  if (!table.has(address)) return !table.has(length);
  const auto bytes = table.bytes(address);
  if (bytes.size() != match.address.size()) return false;
  match.address = make_address(match.address.family(), address_bytes(bytes));
  const auto bits = table.has(length) ? table.u16(length) : bytes.size() * 8;
  if (bits > bytes.size() * 8) return false;
  match.length = static_cast<std::uint8_t>(bits);
  return true;
}

bool read_ports(const AttributeTable& table, unsigned type, model::PortMatch& match) {
  const auto bytes = table.bytes(type);
  if (bytes.size() % kRangeSize != 0) return false;
  for (std::size_t at = 0; at < bytes.size(); at += kRangeSize) {
    const model::PortRange range{net::load<std::uint16_t>(bytes, at),
                                 net::load<std::uint16_t>(bytes, at + 2)};
    if (!match.add(range)) return false;
  }
  return true;
}

std::optional<model::MarkRule> rule_of(const AttributeTable& table) {
  model::MarkRule rule;
  rule.family = static_cast<net::Family>(table.u16(kFamily));
  if (table.u16(kFamily) != static_cast<std::uint16_t>(rule.family) ||
      (rule.family != net::Family::kIpv4 && rule.family != net::Family::kIpv6) ||
      table.u16(kProtocol) > UINT8_MAX ||
      table.u16(kAction) > static_cast<unsigned>(model::MarkAction::kReturn)) {
    return std::nullopt;
  }
  rule.protocol = static_cast<std::uint8_t>(table.u16(kProtocol));
  rule.source = rule.destination = model::MarkRule::any(rule.family);
  if (!read_prefix(table, kSource, kSourceLength, rule.source) ||
      !read_prefix(table, kDestination, kDestinationLength, rule.destination) ||
      !read_ports(table, kSourcePorts, rule.source_ports) ||
      !read_ports(table, kDestinationPorts, rule.destination_ports) ||
      !read_ports(table, kEitherPort, rule.either_port)) {
    return std::nullopt;
  }
  rule.interface = table.text(kInterface);
  const auto negated = table.u32(kNot);
  rule.is_protocol_negated = (negated & kNotProtocol) != 0;
  rule.source.is_negated = (negated & kNotSource) != 0;
  rule.destination.is_negated = (negated & kNotDestination) != 0;
  rule.source_ports.is_negated = (negated & kNotSourcePorts) != 0;
  rule.destination_ports.is_negated = (negated & kNotDestinationPorts) != 0;
  rule.either_port.is_negated = (negated & kNotEitherPort) != 0;
  rule.is_interface_negated = (negated & kNotInterface) != 0;
  rule.action = static_cast<model::MarkAction>(table.u16(kAction));
  rule.value = table.u32(kMarkValue);
  rule.mask = table.has(kMarkMask) ? table.u32(kMarkMask) : UINT32_MAX;
  if (!model::is_valid(rule)) return std::nullopt;
  return rule;
}

/// A request with an attribute that holds what `fill` puts into it.
template <class Fill>
Message mark_request(const RequestContext& context, SluiceCommand command, Fill fill) {
  return make_request(context, command, kDo, nested(kMarkRuleAttribute, fill));
}

}  // namespace

Message list_mark_rules_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kGetMarkRules, kDump);
}
Message flush_mark_rules_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kFlushMarkRules);
}
Message zero_mark_rules_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kZeroMarkRules);
}

Message add_mark_rule_request(const RequestContext& context, const model::MarkRule& rule,
                              std::uint32_t position) {
  return mark_request(context, SluiceCommand::kAddMarkRule, [&](MessageWriter& writer) {
    put_rule(writer, rule);
    if (position != 0) writer.put_u32(kPosition, position);
  });
}

Message delete_mark_rule_request(const RequestContext& context, std::uint32_t position) {
  return mark_request(context, SluiceCommand::kDeleteMarkRule,
                      [&](MessageWriter& writer) { writer.put_u32(kPosition, position); });
}

Message delete_mark_rule_request(const RequestContext& context, const model::MarkRule& rule) {
  return mark_request(context, SluiceCommand::kDeleteMarkRule,
                      [&](MessageWriter& writer) { put_rule(writer, rule); });
}

Result<std::vector<model::MarkRuleInfo>> read_mark_rules(std::span<const Message> answer) {
  return read_all<model::MarkRuleInfo>(
      answer, SluiceCommand::kNewMarkRule,
      [](const MessageView& view) -> std::optional<model::MarkRuleInfo> {
        const auto table = open_nest<kMarkRuleAttribute>(view, kRules);
        const auto rule = table ? rule_of(*table) : std::nullopt;
        if (!rule) return std::nullopt;
        return model::MarkRuleInfo{
            .rule = *rule, .packets = table->u64(kPackets), .bytes = table->u64(kBytes)};
      });
}

Result<MarkRuleRequest> parse_mark_rule_request(const MessageView& request) {
  const auto table = open_nest<kMarkRuleAttribute>(request, kRules);
  if (!table) return tl::unexpected(table.error());
  MarkRuleRequest asked{.position = table->u32(kPosition), .rule = {}};
  if (table->has(kFamily)) {
    asked.rule = rule_of(*table);
    if (!asked.rule) return failure(EINVAL);
  }
  if (!asked.rule && asked.position == 0) return failure(EINVAL);
  return asked;
}

void encode_mark_rule(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, std::uint32_t position,
                      const model::MarkRuleInfo& info) {
  put_answer(out, request, port_id, flags, SluiceCommand::kNewMarkRule,
             nested(kMarkRuleAttribute, [&](MessageWriter& writer) {
               put_rule(writer, info.rule);
               writer.put_u32(kPosition, position);
               writer.put_u64(kPackets, info.packets);
               writer.put_u64(kBytes, info.bytes);
             }));
}

}  // namespace lb::wire
