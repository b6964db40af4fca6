// SPDX-License-Identifier: Apache-2.0
// How a mark rule is read from words.
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <array>

#include "cli/mark_text.hpp"

namespace lb::cli {
namespace {

std::optional<std::uint16_t> parse_port(const std::string& text, std::uint8_t protocol) {
  if (const auto number = parse_unsigned(text, UINT16_MAX)) {
    return static_cast<std::uint16_t>(*number);
  }
  if (text.empty()) return std::nullopt;
  const auto* entry = ::getservbyname(text.c_str(), protocol_name(protocol).c_str());
  if (entry == nullptr) return std::nullopt;
  return net::Port::from_network(static_cast<std::uint16_t>(entry->s_port)).to_host();
}

using Fault = std::optional<std::string>;

/// One pass over the words of a rule.
class RuleReader {
 public:
  RuleReader(std::span<const std::string> words, std::optional<net::Family> family)
      : words_(words), default_family_(family) {}

  tl::expected<model::MarkRule, std::string> read() {
    if (!words_.empty() && (words_[0] == "iptables" || words_[0] == "ip6tables")) {
      family_ = words_[0] == "iptables" ? net::Family::kIpv4 : net::Family::kIpv6;
      next_ = 1;
    }
    while (next_ < words_.size()) {
      if (auto fault = read_option()) return tl::unexpected(std::move(*fault));
    }
    if (auto fault = finish()) return tl::unexpected(std::move(*fault));
    return rule_;
  }

 private:
  using Read = Fault (RuleReader::*)(const std::string& value);
  struct Option {
    std::string_view name;
    Read read;
    bool may_be_negated = false;
  };
  static std::span<const Option> options();

  Fault read_option() {
    is_negated_ = words_[next_] == "!";
    if (is_negated_ && ++next_ == words_.size()) return "`!' stands before nothing";
    std::string name = words_[next_++];
    if (name == "-4" || name == "--ipv4") return set_family(net::Family::kIpv4, name);
    if (name == "-6" || name == "--ipv6") return set_family(net::Family::kIpv6, name);
    std::optional<std::string> value;
    if (const auto equals = name.find('='); name.starts_with("--") && equals != name.npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const auto all = options();
    const auto option = std::find_if(all.begin(), all.end(),
                                     [&](const Option& other) { return other.name == name; });
    if (option == all.end()) return fmt::format("`{}' is not understood", name);
    if (is_negated_ && !option->may_be_negated) {
      return fmt::format("`{}' cannot be negated", name);
    }
    if (!value) {
      if (next_ == words_.size()) return fmt::format("`{}' needs a value", name);
      value = words_[next_++];
    }
    name_ = name;
    if (*value == "!") return fmt::format("`!' belongs before `{}'", name);
    return (this->*option->read)(*value);
  }

  Fault set_family(net::Family family, const std::string& word) {
    if (is_negated_) return fmt::format("`{}' cannot be negated", word);
    if (family_ && *family_ != family) {
      return fmt::format("`{}' does not fit what was said before: IPv4 and IPv6 in one rule", word);
    }
    family_ = family;
    return {};
  }

  Fault wrong(const std::string& value, std::string_view wanted) const {
    return fmt::format("`{} {}': {}", name_, value, wanted);
  }
  Fault once(bool& is_given) {
    if (is_given) return fmt::format("`{}' says for the second time what is to match", name_);
    is_given = true;
    return {};
  }

  Fault read_prefix(const std::string& value, std::optional<model::PrefixMatch>& match) {
    if (match) return fmt::format("`{}' is given twice", name_);
    if (value.find(',') != std::string::npos) return wrong(value, "one rule an address, please");
    match = parse_prefix(value);
    if (!match) return wrong(value, "not an address, or not one with a prefix");
    match->is_negated = is_negated_;
    is_negated_ = false;
    return set_family(match->address.family(), value);
  }
  Fault read_source(const std::string& value) { return read_prefix(value, source_); }
  Fault read_destination(const std::string& value) { return read_prefix(value, destination_); }

  Fault read_protocol(const std::string& value) {
    if (auto fault = once(has_protocol_)) return fault;
    const auto protocol = parse_protocol(value);
    if (!protocol) return wrong(value, "not a protocol");
    if (*protocol == 0 && is_negated_) return wrong(value, "no protocol would be left");
    rule_.protocol = *protocol;
    rule_.is_protocol_negated = is_negated_;
    return {};
  }

  Fault read_interface(const std::string& value) {
    if (auto fault = once(has_interface_)) return fault;
    if (value.empty() || value == "+" || value.size() > model::Name::kMaxLength ||
        value.find_first_of("/ \t\r\n") != std::string::npos) {
      return wrong(value, "not the name of an interface");
    }
    rule_.interface = std::string_view(value);
    rule_.is_interface_negated = is_negated_;
    return {};
  }

  Fault read_range(const std::string& value, model::PortMatch& match) {
    if (!model::has_ports(rule_.protocol) || rule_.is_protocol_negated) {
      return fmt::format("`{}' needs -p tcp, -p udp or -p sctp before it", name_);
    }
    const auto colon = value.find(':');
    const bool is_range = colon != std::string::npos;
    const auto begin = value.substr(0, colon);
    const auto end = is_range ? value.substr(colon + 1) : begin;
    const auto first = is_range && begin.empty() ? 0 : parse_port(begin, rule_.protocol);
    const auto last = is_range && end.empty() ? UINT16_MAX : parse_port(end, rule_.protocol);
    if (!first || !last || *first > *last) return wrong(value, "not a port or a range of ports");
    if (!match.add({*first, *last})) {
      return wrong(value, fmt::format("at most {} ports", model::PortMatch::kMaxRanges));
    }
    match.is_negated = is_negated_;
    return {};
  }
  Fault read_port(const std::string& value, model::PortMatch& match) {
    if (match.is_asked()) return fmt::format("`{}': these ports are given twice", name_);
    if (value.find(',') != std::string::npos) {
      return wrong(value, "a list of ports needs --sports, --dports or --ports");
    }
    return read_range(value, match);
  }
  Fault read_ports(const std::string& value, model::PortMatch& match) {
    if (match.is_asked()) return fmt::format("`{}': these ports are given twice", name_);
    std::size_t at = 0;
    while (at <= value.size()) {
      const auto comma = std::min(value.find(',', at), value.size());
      if (auto fault = read_range(value.substr(at, comma - at), match)) return fault;
      at = comma + 1;
    }
    return {};
  }
  Fault read_sport(const std::string& value) { return read_port(value, rule_.source_ports); }
  Fault read_dport(const std::string& value) { return read_port(value, rule_.destination_ports); }
  Fault read_sports(const std::string& value) { return read_ports(value, rule_.source_ports); }
  Fault read_dports(const std::string& value) { return read_ports(value, rule_.destination_ports); }
  Fault read_either(const std::string& value) { return read_ports(value, rule_.either_port); }

  Fault read_table(const std::string& value) {
    return value == "mangle" ? Fault{} : wrong(value, "only the table mangle marks packets");
  }
  Fault read_chain(const std::string& value) {
    return value == "PREROUTING" ? Fault{}
                                 : wrong(value, "only rules of the chain PREROUTING can be had");
  }
  Fault read_match(const std::string& value) {
    constexpr auto kKnown =
        std::to_array<std::string_view>({"tcp", "udp", "sctp", "multiport", "comment"});
    if (std::find(kKnown.begin(), kKnown.end(), value) != kKnown.end()) return {};
    return wrong(value, "this match is not known here");
  }
  Fault read_comment(const std::string&) { return {}; }

  Fault read_target(const std::string& value) {
    if (!target_.empty()) return fmt::format("`{}' is given twice", name_);
    if (value != "MARK" && value != "RETURN" && value != "ACCEPT") {
      return wrong(value, "the targets are MARK, RETURN and ACCEPT");
    }
    target_ = value;
    return {};
  }

  Fault read_value(const std::string& value, bool may_have_mask, std::uint32_t& number,
                   std::uint32_t& mask) {
    if (auto fault = once(has_mark_)) return fault;
    const auto slash = may_have_mask ? value.find('/') : std::string::npos;
    const auto first = parse_unsigned(value.substr(0, slash));
    const auto second =
        slash == std::string::npos ? UINT32_MAX : parse_unsigned(value.substr(slash + 1));
    if (!first || !second) {
      return wrong(value, may_have_mask ? "not a mark or mark/mask" : "not a mark");
    }
    number = *first;
    mask = *second;
    return {};
  }
  Fault read_set_xmark(const std::string& value) {
    return read_value(value, true, rule_.value, rule_.mask);
  }
  Fault read_set_mark(const std::string& value) {
    if (auto fault = read_set_xmark(value)) return fault;
    rule_.mask |= rule_.value;
    return {};
  }
  Fault read_and_mark(const std::string& value) {
    std::uint32_t bits = 0;
    if (auto fault = read_value(value, false, bits, rule_.mask)) return fault;
    rule_.value = 0;
    rule_.mask = ~bits;
    return {};
  }
  Fault read_or_mark(const std::string& value) {
    if (auto fault = read_value(value, false, rule_.value, rule_.mask)) return fault;
    rule_.mask = rule_.value;
    return {};
  }
  Fault read_xor_mark(const std::string& value) {
    if (auto fault = read_value(value, false, rule_.value, rule_.mask)) return fault;
    rule_.mask = 0;
    return {};
  }

  Fault finish() {
    rule_.family = family_.value_or(default_family_.value_or(net::Family::kIpv4));
    rule_.source = source_.value_or(model::MarkRule::any(rule_.family));
    rule_.destination = destination_.value_or(model::MarkRule::any(rule_.family));
    const bool is_mark = target_.empty() || target_ == "MARK";
    if (is_mark && !has_mark_) return "no mark is given: --set-mark VALUE is missing";
    if (!is_mark && has_mark_) return fmt::format("`-j {}' sets no mark", target_);
    if (!is_mark) {
      rule_.action = model::MarkAction::kReturn;
      rule_.value = rule_.mask = 0;
    }
    if (!model::is_valid(rule_)) return "the parts of the rule do not fit each other";
    return {};
  }

  std::span<const std::string> words_;
  std::optional<net::Family> default_family_;
  std::optional<net::Family> family_;
  std::size_t next_ = 0;
  bool is_negated_ = false;
  std::string name_;  // of the option in work
  model::MarkRule rule_;
  std::optional<model::PrefixMatch> source_, destination_;
  std::string target_;
  bool has_protocol_ = false;
  bool has_interface_ = false;
  bool has_mark_ = false;
};

std::span<const RuleReader::Option> RuleReader::options() {
  using R = RuleReader;
  static constexpr auto kOptions = std::to_array<Option>({
      {"-p", &R::read_protocol, true},
      {"--protocol", &R::read_protocol, true},
      {"--proto", &R::read_protocol, true},
      {"-s", &R::read_source, true},
      {"--source", &R::read_source, true},
      {"--src", &R::read_source, true},
      {"-d", &R::read_destination, true},
      {"--destination", &R::read_destination, true},
      {"--dst", &R::read_destination, true},
      {"-i", &R::read_interface, true},
      {"--in-interface", &R::read_interface, true},
      {"--sport", &R::read_sport, true},
      {"--source-port", &R::read_sport, true},
      {"--dport", &R::read_dport, true},
      {"--destination-port", &R::read_dport, true},
      {"--sports", &R::read_sports, true},
      {"--source-ports", &R::read_sports, true},
      {"--dports", &R::read_dports, true},
      {"--destination-ports", &R::read_dports, true},
      {"--ports", &R::read_either, true},
      {"-t", &R::read_table},
      {"--table", &R::read_table},
      {"-A", &R::read_chain},
      {"--append", &R::read_chain},
      {"-m", &R::read_match},
      {"--match", &R::read_match},
      {"--comment", &R::read_comment},
      {"-j", &R::read_target},
      {"--jump", &R::read_target},
      {"--set-mark", &R::read_set_mark},
      {"--set-xmark", &R::read_set_xmark},
      {"--and-mark", &R::read_and_mark},
      {"--or-mark", &R::read_or_mark},
      {"--xor-mark", &R::read_xor_mark},
  });
  return kOptions;
}

}  // namespace

tl::expected<model::MarkRule, std::string> parse_mark_rule(std::span<const std::string> words,
                                                           std::optional<net::Family> family) {
  return RuleReader(words, family).read();
}

}  // namespace lb::cli
