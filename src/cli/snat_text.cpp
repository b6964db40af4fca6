// SPDX-License-Identifier: Apache-2.0
#include "cli/snat_text.hpp"

#include <fmt/format.h>

#include <iterator>

#include "cli/address_text.hpp"
#include "cli/mark_text.hpp"

namespace lb::cli {
namespace {

std::string prefix_text(const net::IpAddress& address, std::size_t length) {
  if (length == address.size() * 8) return address.to_text();
  return fmt::format("{}/{}", address.to_text(), length);
}

bool is_any(const model::PrefixMatch& match) { return match.length == 0; }

std::string pool_text(const model::SnatRule& rule) {
  std::string text;
  for (std::size_t i = 0; i < rule.pool_count; ++i) {
    const auto& [first, last] = rule.pool[i];
    if (i != 0) text += ',';
    text += first.to_text();
    if (first != last) text += '-' + last.to_text();
  }
  return text;
}

}  // namespace

std::string snat_options_text(const model::SnatRule& rule) {
  std::string text;
  const auto out = std::back_inserter(text);
  const auto put = [&](std::string_view option, const std::string& value) {
    fmt::format_to(out, "{}{} {}", text.empty() ? "" : " ", option, value);
  };
  if (rule.kind == model::SnatKind::kStatic) {
    put("--static", fmt::format("{}={}", prefix_text(rule.inside.address, rule.inside.length),
                                prefix_text(rule.pool[0].first, rule.inside.length)));
  } else if (!is_any(rule.inside)) {
    put("--inside", prefix_text(rule.inside.address, rule.inside.length));
  }
  if (!is_any(rule.destination)) {
    put("--destination", prefix_text(rule.destination.address, rule.destination.length));
  }
  if (!rule.interface.empty()) put("--out-interface", quoted_word(rule.interface.view()));
  if (rule.protocol != 0) put("--proto", protocol_name(rule.protocol));
  if (rule.kind != model::SnatKind::kStatic) put("--pool", pool_text(rule));
  if (rule.has_ports()) {
    put("--ports", rule.ports.first == rule.ports.last
                       ? std::to_string(rule.ports.first)
                       : fmt::format("{}-{}", rule.ports.first, rule.ports.last));
  }
  const auto number = [&](std::string_view option, std::uint32_t value) {
    if (value != 0) put(option, std::to_string(value));
  };
  number("--limit", rule.client_limit);
  number("--timeout-tcp", rule.timeouts.tcp);
  number("--timeout-tcp-transitory", rule.timeouts.tcp_transitory);
  number("--timeout-udp", rule.timeouts.udp);
  number("--timeout-icmp", rule.timeouts.icmp);
  return text;
}

std::string snat_rule_text(const model::SnatRule& rule) {
  return fmt::format("{} {}", rule.name.view(), snat_options_text(rule));
}

std::string snat_conflict_text(const model::SnatConflict& conflict) {
  const auto other = conflict.other.view();
  switch (conflict.kind) {
    case model::SnatConflictKind::kName:
      return fmt::format(
          "there is a rule `{0}' already; take another name, or delete it first "
          "(sluice snat delete {0})",
          other);
    case model::SnatConflictKind::kSelector:
      return fmt::format(
          "the rule `{}' asks for the same packets, and neither would be more "
          "specific; delete it, or narrow one of them (--inside, --destination, "
          "--proto, --out-interface)",
          other);
    case model::SnatConflictKind::kAddress:
      return fmt::format(
          "{} is an address of the rule `{}', too: a static mapping shares addresses with other "
          "rules only if it has ports of its own (--ports)",
          conflict.address.to_text(), other);
  }
  return {};
}

std::string last_refusal_text(const model::SnatRuleInfo& info) {
  if (!info.last_refused) return {};
  const auto reason = [&]() -> std::string_view {
    switch (info.last_refusal) {
      case model::SnatRefusal::kPoolExhausted:
        return "no port was free at its address";
      case model::SnatRefusal::kClientLimit:
        return "it has as many connections as it may (--limit)";
      case model::SnatRefusal::kTableFull:
        return "the connection table is full";
      case model::SnatRefusal::kNone:
        break;
    }
    return {};
  }();
  if (reason.empty()) return {};
  const auto& wanted = info.last_refused_destination;
  return fmt::format("{} to {}: {}", info.last_refused->to_text(),
                     endpoint_text(wanted.address, wanted.port, {}), reason);
}

}  // namespace lb::cli
