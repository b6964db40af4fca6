// SPDX-License-Identifier: Apache-2.0
#include "cli/nft_rule.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lb::cli::nft {
namespace {

using model::MarkRule;
using Fault = std::optional<std::string>;

// Sets multiply: addresses by protocols by families.
constexpr std::size_t kMaxRules = 1024;

bool is_mark_statement(const Json& statement) {
  const auto* mangle = member(statement, "mangle");
  const auto* key = mangle != nullptr ? member(*mangle, "key") : nullptr;
  const auto* meta = key != nullptr ? member(*key, "meta") : nullptr;
  return meta != nullptr && text_of(*meta, "key") == "mark";
}

/// Reads the statements of one rule, narrowing and splitting the rules that it becomes.
class RuleReader {
 public:
  explicit RuleReader(std::string_view family) {
    if (family != "ip6") rules_.push_back(plain(net::Family::kIpv4));
    if (family != "ip") rules_.push_back(plain(net::Family::kIpv6));
  }

  Fault read(const Json& statement) {
    if (!statement.is_object() || statement.size() != 1) return "a statement is no object";
    const std::string name = statement.begin().key();
    const Json& value = statement.begin().value();
    if (name == "counter" || name == "log" || name == "notrack") return {};
    if (is_ended_) return "something follows the verdict";
    if (name == "match") {
      if (has_mark_) return "a match follows the statement that sets the mark";
      return read_match(value);
    }
    if (name == "mangle") return is_mark_statement(statement) ? read_mark(value) : Fault{};
    if (name == "accept" || name == "return") {
      is_ended_ = true;
      return {};
    }
    if (name == "xt") return "made by iptables: take it from iptables-save";
    return fmt::format("the statement `{}' has no counterpart here", name);
  }

  [[nodiscard]] std::vector<MarkRule> take() const {
    std::vector<MarkRule> result;
    for (auto rule : rules_) {
      rule.value = change_.flipped;
      rule.mask = ~change_.kept;
      if (has_mark_) result.push_back(rule);
    }
    for (auto rule : rules_) {
      rule.action = model::MarkAction::kReturn;
      rule.value = rule.mask = 0;
      if (is_ended_) result.push_back(rule);
    }
    return result;
  }

 private:
  static MarkRule plain(net::Family family) {
    MarkRule rule;
    rule.family = family;
    rule.source = rule.destination = MarkRule::any(family);
    return rule;
  }

  Fault read_mark(const Json& mangle) {
    const auto* value = member(mangle, "value");
    const auto next = value != nullptr ? mark_change(*value) : std::nullopt;
    if (!next) return "the mark is not made of numbers and the mark before";
    change_ = {change_.kept & next->kept, (change_.flipped & next->kept) ^ next->flipped};
    has_mark_ = true;
    return {};
  }

  Fault read_match(const Json& match) {
    const auto operation = text_of(match, "op");
    const bool is_negated = operation == "!=";
    if (operation != "==" && operation != "in" && !is_negated) {
      return fmt::format("the comparison `{}' has no counterpart here", operation);
    }
    const auto* left = member(match, "left");
    const auto* right = member(match, "right");
    if (left == nullptr || right == nullptr) return "a match without its two sides";
    const auto elements = elements_of(*right);
    if (!elements) return "a named set or a map";
    if (elements->empty()) return "an empty set";
    if (const auto* meta = member(*left, "meta")) {
      return match_meta(text_of(*meta, "key"), *elements, is_negated);
    }
    if (const auto* payload = member(*left, "payload")) {
      return match_payload(text_of(*payload, "protocol"), text_of(*payload, "field"), *elements,
                           is_negated);
    }
    return fmt::format("a match on `{}' has no counterpart here",
                       left->is_object() && !left->empty() ? left->begin().key() : "?");
  }

  Fault match_meta(const std::string& key, const std::vector<Json>& elements, bool is_negated) {
    if (key == "iifname" || key == "iif") return match_interface(elements, is_negated);
    if (key == "l4proto") return match_protocol(elements, is_negated);
    if (key == "nfproto" && elements.size() == 1 && !is_negated) {
      const bool is_v4 = elements[0] == "ipv4";
      if (!is_v4 && elements[0] != "ipv6") return "a family that is not known";
      keep_family(is_v4 ? net::Family::kIpv4 : net::Family::kIpv6);
      return {};
    }
    return fmt::format("a match on `meta {}' has no counterpart here", key);
  }

  Fault match_payload(const std::string& protocol, const std::string& field,
                      const std::vector<Json>& elements, bool is_negated) {
    if (protocol == "ip" || protocol == "ip6") {
      keep_family(protocol == "ip" ? net::Family::kIpv4 : net::Family::kIpv6);
      if (field == "saddr") return match_address(&MarkRule::source, elements, is_negated);
      if (field == "daddr") return match_address(&MarkRule::destination, elements, is_negated);
      if (field == "protocol" || field == "nexthdr") return match_protocol(elements, is_negated);
    }
    const bool is_source = field == "sport";
    if (is_source || field == "dport") {
      if (protocol == "tcp" || protocol == "udp" || protocol == "sctp") {
        if (auto fault = match_protocol({Json(protocol)}, false)) return fault;
      }
      return match_ports(is_source ? &MarkRule::source_ports : &MarkRule::destination_ports,
                         elements, is_negated);
    }
    return fmt::format("a match on `{} {}' has no counterpart here", protocol, field);
  }

  void keep_family(net::Family family) {
    std::erase_if(rules_, [&](const MarkRule& rule) { return rule.family != family; });
  }

  /// Replaces each rule by one for each of `parts`, as `apply` makes them.
  template <class Part, class Apply>
  Fault split(const std::vector<Part>& parts, Apply apply) {
    if (parts.size() * rules_.size() > kMaxRules) {
      return fmt::format("would become more than {} rules", kMaxRules);
    }
    std::vector<MarkRule> result;
    for (const auto& rule : rules_) {
      for (const auto& part : parts) {
        result.push_back(rule);
        if (auto fault = apply(result.back(), part)) return fault;
      }
    }
    rules_ = std::move(result);
    return {};
  }

  Fault match_address(model::PrefixMatch MarkRule::*which, const std::vector<Json>& elements,
                      bool is_negated) {
    std::vector<model::PrefixMatch> prefixes;
    for (const auto& element : elements) {
      const auto part = prefixes_of(element);
      if (!part) return "an address that is none";
      prefixes.insert(prefixes.end(), part->begin(), part->end());
    }
    if (is_negated && prefixes.size() != 1) return "`!=' with more than one prefix";
    return split(prefixes, [&](MarkRule& rule, const model::PrefixMatch& prefix) -> Fault {
      auto& match = rule.*which;
      if (match != MarkRule::any(rule.family)) return "an address is asked for twice";
      if (prefix.address.family() != rule.family) return "an address of the other family";
      match = prefix;
      match.is_negated = is_negated;
      return {};
    });
  }

  Fault match_protocol(const std::vector<Json>& elements, bool is_negated) {
    std::vector<std::uint8_t> protocols;
    for (const auto& element : elements) {
      const auto protocol = protocol_of(element);
      if (!protocol) return "a protocol that is not known";
      protocols.push_back(*protocol);
    }
    if (is_negated && protocols.size() != 1) return "`!=' with more than one protocol";
    return split(protocols, [&](MarkRule& rule, std::uint8_t protocol) -> Fault {
      // nft says it twice for ports behind a match on the protocol.
      const bool is_same = rule.protocol == protocol && rule.is_protocol_negated == is_negated;
      if (rule.protocol != 0 && !is_same) return "two protocols in one rule";
      rule.protocol = protocol;
      rule.is_protocol_negated = is_negated;
      return {};
    });
  }

  Fault match_interface(const std::vector<Json>& elements, bool is_negated) {
    if (is_negated && elements.size() != 1) return "`!=' with more than one interface";
    return split(elements, [&](MarkRule& rule, const Json& element) -> Fault {
      if (!rule.interface.empty()) return "an interface is asked for twice";
      std::string name = element.is_string() ? element.get<std::string>() : std::string();
      if (name.empty() || name.size() > model::Name::kMaxLength || name.back() == '+' ||
          name == "*" || name.find_first_of("/ \t\r\n") != std::string::npos) {
        return "not the name of an interface";
      }
      if (name.back() == '*') name.back() = '+';
      rule.interface = std::string_view(name);
      rule.is_interface_negated = is_negated;
      return {};
    });
  }

  Fault match_ports(model::PortMatch MarkRule::*which, const std::vector<Json>& elements,
                    bool is_negated) {
    std::vector<model::PortMatch> parts(1);
    for (const auto& element : elements) {
      const auto range = ports_of(element);
      if (!range) return "a port that is none";
      if (parts.back().add(*range)) continue;
      if (is_negated) return fmt::format("`!=' with more than {} ports", parts.back().kMaxRanges);
      parts.emplace_back().add(*range);
    }
    return split(parts, [&](MarkRule& rule, const model::PortMatch& part) -> Fault {
      auto& match = rule.*which;
      if (match.is_asked()) return "ports are asked for twice";
      if (!model::has_ports(rule.protocol) || rule.is_protocol_negated) {
        return "ports of a protocol that is not tcp, udp or sctp";
      }
      match = part;
      match.is_negated = is_negated;
      return {};
    });
  }

  std::vector<MarkRule> rules_;
  MarkChange change_{UINT32_MAX, 0};
  bool has_mark_ = false;
  bool is_ended_ = false;
};

}  // namespace

bool sets_mark(const Json& expressions) {
  return expressions.is_array() &&
         std::any_of(expressions.begin(), expressions.end(), is_mark_statement);
}

tl::expected<std::vector<MarkRule>, std::string> read_rule(const Json& expressions,
                                                           std::string_view family) {
  if (!expressions.is_array()) return tl::unexpected(std::string("a rule without statements"));
  RuleReader reader(family);
  for (const auto& statement : expressions) {
    if (auto fault = reader.read(statement)) return tl::unexpected(std::move(*fault));
  }
  return reader.take();
}

}  // namespace lb::cli::nft
