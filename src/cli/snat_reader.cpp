// SPDX-License-Identifier: Apache-2.0
// How a rule of source NAT is read from words.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "cli/mark_text.hpp"
#include "cli/snat_text.hpp"

namespace lb::cli {
namespace {

using Fault = std::optional<std::string>;

constexpr std::uint8_t kIcmp = static_cast<std::uint8_t>(net::Protocol::kIcmp);
constexpr std::uint8_t kIcmpv6 = static_cast<std::uint8_t>(net::Protocol::kIcmpv6);

std::string_view version_of(net::Family family) {
  return family == net::Family::kIpv4 ? "IPv4" : "IPv6";
}

/// A prefix as it was written. Unlike iptables bits beyond the length are an error: 10.0.0.5/8 for
/// 10.0.0.5 would translate a whole network.
tl::expected<model::PrefixMatch, std::string> read_prefix(std::string_view text) {
  const auto prefix = parse_prefix(text);
  if (!prefix) return tl::unexpected(fmt::format("`{}' is no address or prefix", text));
  const auto written = net::IpAddress::from_text(text.substr(0, text.find('/')));
  if (written != prefix->address) {
    return tl::unexpected(fmt::format("`{}' has bits beyond its length: is {}/{} meant, or {}?",
                                      text, prefix->address.to_text(), prefix->length,
                                      text.substr(0, text.find('/'))));
  }
  return *prefix;
}

/// All addresses of a prefix; null: more than any pool may have.
std::optional<model::AddressRange> range_of(const model::PrefixMatch& prefix) {
  constexpr unsigned kMostBits = 16;
  const auto free_bits = prefix.address.size() * 8 - prefix.length;
  if (free_bits > kMostBits) return std::nullopt;
  const model::AddressRange from{.first = prefix.address, .last = prefix.address};
  return model::AddressRange{.first = prefix.address, .last = from.at((1U << free_bits) - 1)};
}

/// "80", "1024-65535", or with a colon as iptables has it elsewhere.
std::optional<model::PortRange> read_ports(std::string_view text) {
  const auto dash = text.find_first_of("-:");
  const auto first = parse_unsigned(text.substr(0, dash), UINT16_MAX);
  const auto last = dash == text.npos ? first : parse_unsigned(text.substr(dash + 1), UINT16_MAX);
  if (!first || !last || *first == 0 || *last < *first) return std::nullopt;
  return model::PortRange{.first = static_cast<std::uint16_t>(*first),
                          .last = static_cast<std::uint16_t>(*last)};
}

/// One pass over the words of a rule.
class RuleReader {
 public:
  explicit RuleReader(std::span<const std::string> words) : words_(words) {}

  tl::expected<model::SnatRule, std::string> read() {
    if (auto fault = read_name()) return tl::unexpected(std::move(*fault));
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
    std::string_view other = {};  ///< of iptables
    std::string_view third = {};
  };
  static std::span<const Option> options();

  Fault read_name();
  Fault read_option();
  Fault finish();

  Fault inside(const std::string& value) { return prefix(value, inside_); }
  Fault destination(const std::string& value) { return prefix(value, destination_); }
  Fault out_interface(const std::string& value);
  Fault protocol(const std::string& value);
  Fault pool(const std::string& value);
  Fault mapping(const std::string& value);
  Fault ports(const std::string& value);
  Fault limit(const std::string& value) { return number(value, rule_.client_limit, UINT32_MAX); }
  Fault tcp(const std::string& value) { return seconds(value, rule_.timeouts.tcp); }
  Fault transitory(const std::string& value) {
    return seconds(value, rule_.timeouts.tcp_transitory);
  }
  Fault udp(const std::string& value) { return seconds(value, rule_.timeouts.udp); }
  Fault icmp(const std::string& value) { return seconds(value, rule_.timeouts.icmp); }
  Fault target(const std::string& value);

  Fault prefix(const std::string& value, std::optional<model::PrefixMatch>& out);
  Fault number(const std::string& value, std::uint32_t& out, std::uint32_t highest);
  Fault seconds(const std::string& value, std::uint32_t& out) {
    return number(value, out, model::SnatRule::kMaxTimeout);
  }
  Fault pool_part(std::string_view part);
  Fault check_family(const net::IpAddress& address, std::string_view what) const;

  std::span<const std::string> words_;
  std::size_t next_ = 0;
  std::string_view option_;  ///< that is being read
  std::vector<std::string_view> seen_;
  std::optional<model::PrefixMatch> inside_, destination_;
  model::SnatRule rule_;
};

std::span<const RuleReader::Option> RuleReader::options() {
  static constexpr auto kOptions = std::to_array<Option>({
      {"--inside", &RuleReader::inside, "-s", "--source"},
      {"--destination", &RuleReader::destination, "-d"},
      {"--out-interface", &RuleReader::out_interface, "-o"},
      {"--proto", &RuleReader::protocol, "-p", "--protocol"},
      {"--pool", &RuleReader::pool, "--to-source"},
      {"--static", &RuleReader::mapping},
      {"--ports", &RuleReader::ports},
      {"--limit", &RuleReader::limit},
      {"--timeout-tcp", &RuleReader::tcp},
      {"--timeout-tcp-transitory", &RuleReader::transitory},
      {"--timeout-udp", &RuleReader::udp},
      {"--timeout-icmp", &RuleReader::icmp},
      {"--jump", &RuleReader::target, "-j"},
  });
  return kOptions;
}

Fault RuleReader::read_name() {
  if (words_.empty() || words_[0].starts_with('-')) {
    return "a rule begins with its name, as in `office --inside 10.0.0.0/8 --pool 192.0.2.10'";
  }
  const auto& name = words_[next_++];
  if (name.size() > model::Name::kMaxLength) {
    return fmt::format("the name `{}' is longer than {} characters", name, model::Name::kMaxLength);
  }
  rule_.name = std::string_view(name);
  return {};
}

Fault RuleReader::read_option() {
  std::string name = words_[next_++];
  std::optional<std::string> value;
  if (const auto equals = name.find('='); name.starts_with("--") && equals != name.npos) {
    value = name.substr(equals + 1);
    name.resize(equals);
  }
  if (name == "!") return "`!' is not known here: a more specific rule is taken before others";
  const auto all = options();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Option& option) {
    return option.name == name || option.other == name || option.third == name;
  });
  if (found == all.end() || name.empty()) return fmt::format("`{}' is not known", name);
  option_ = found->name;
  if (std::find(seen_.begin(), seen_.end(), option_) != seen_.end()) {
    return fmt::format("{} is there twice", option_);
  }
  seen_.push_back(option_);
  if (!value) {
    if (next_ == words_.size()) return fmt::format("{} needs a value", name);
    value = words_[next_++];
  }
  return (this->*found->read)(*value);
}

Fault RuleReader::prefix(const std::string& value, std::optional<model::PrefixMatch>& out) {
  const auto read = read_prefix(value);
  if (!read) return fmt::format("{}: {}", option_, read.error());
  out = *read;
  return {};
}

Fault RuleReader::number(const std::string& value, std::uint32_t& out, std::uint32_t highest) {
  const auto read = parse_unsigned(value, highest);
  if (!read) return fmt::format("{}: `{}' is no number up to {}", option_, value, highest);
  out = *read;
  return {};
}

Fault RuleReader::out_interface(const std::string& value) {
  // What the kernel takes (dev_valid_name).
  if (value.empty() || value.size() > model::Name::kMaxLength ||
      value.find_first_of(" \t\n\v\f\r/:") != value.npos) {
    return fmt::format("--out-interface: `{}' is no name of an interface", value);
  }
  rule_.interface = std::string_view(value);
  return {};
}

Fault RuleReader::protocol(const std::string& value) {
  const auto read = parse_protocol(value);
  if (!read) return fmt::format("--proto: `{}' is no protocol (tcp, udp, icmp)", value);
  rule_.protocol = *read;
  return {};
}

Fault RuleReader::ports(const std::string& value) {
  const auto read = read_ports(value);
  if (!read) {
    return fmt::format("{}: `{}' are no ports from 1 to 65535 (FIRST-LAST)", option_, value);
  }
  if (rule_.has_ports() && rule_.ports != *read) return "the ports are there twice, and differ";
  rule_.ports = *read;
  return {};
}

Fault RuleReader::target(const std::string& value) {
  if (value == "SNAT") return {};
  if (value == "MASQUERADE") {
    return "there is no MASQUERADE: name the addresses that hosts get, --pool ADDRESS[-ADDRESS]";
  }
  if (value == "NETMAP") {
    return "instead of NETMAP there is --static INSIDE=OUTSIDE";
  }
  return fmt::format("-j {} is no source NAT", value);
}

/// "A", "A-B" or "A/LENGTH"; of IPv6 also in brackets, which ports may follow.
Fault RuleReader::pool_part(std::string_view part) {
  const auto fail = [&] {
    return fmt::format(
        "--pool: `{}' is no ADDRESS, ADDRESS-ADDRESS or PREFIX (with ports: 192.0.2.1:1024-65535, "
        "[2001:db8::1]:1024-65535)",
        part);
  };
  auto addresses = std::string(part);
  const bool is_bracketed = part.starts_with('[');
  auto colon = addresses.npos;
  if (is_bracketed) {
    const auto end = addresses.rfind(']');
    if (end == addresses.npos) return fail();
    if (end + 1 < addresses.size()) colon = end + 1;
  } else if (addresses.find('.') != addresses.npos && addresses.find("::") == addresses.npos) {
    colon = addresses.find(':');
  }
  if (colon != addresses.npos) {
    if (addresses[colon] != ':') return fail();
    if (auto fault = ports(addresses.substr(colon + 1))) return fault;
    addresses.resize(colon);
  }
  if (is_bracketed) std::erase_if(addresses, [](char c) { return c == '[' || c == ']'; });
  model::AddressRange range;
  if (addresses.find('/') != addresses.npos) {
    const auto prefix = read_prefix(addresses);
    if (!prefix) return fmt::format("--pool: {}", prefix.error());
    const auto all = range_of(*prefix);
    if (!all) return std::string(model::to_text(model::SnatFault::kPoolTooLarge));
    range = *all;
  } else {
    const auto dash = addresses.find('-');
    const auto first = net::IpAddress::from_text(addresses.substr(0, dash));
    const auto last =
        dash == addresses.npos ? first : net::IpAddress::from_text(addresses.substr(dash + 1));
    if (!first || !last) return fail();
    range = {.first = *first, .last = *last};
  }
  if (!rule_.add(range)) return std::string(model::to_text(model::SnatFault::kNoPool));
  return {};
}

Fault RuleReader::pool(const std::string& value) {
  std::string_view rest = value;
  for (;;) {
    const auto part = rest.substr(0, rest.find(','));
    if (auto fault = pool_part(part)) return fault;
    if (part.size() == rest.size()) return {};
    rest.remove_prefix(part.size() + 1);
  }
}

Fault RuleReader::mapping(const std::string& value) {
  const auto equals = value.find('=');
  if (equals == value.npos) {
    return fmt::format("--static: `{}' is no INSIDE=OUTSIDE, as 10.0.0.5=192.0.2.20", value);
  }
  const auto inside = read_prefix(std::string_view(value).substr(0, equals));
  if (!inside) return fmt::format("--static: {}", inside.error());
  const auto outside = read_prefix(std::string_view(value).substr(equals + 1));
  if (!outside) return fmt::format("--static: {}", outside.error());
  if (inside->address.family() != outside->address.family()) {
    return fmt::format("--static: `{}' is of two families", value);
  }
  if (inside->length != outside->length) {
    return fmt::format("--static: `{}': both prefixes need the same length", value);
  }
  const auto range = range_of(*outside);
  if (!range) return std::string(model::to_text(model::SnatFault::kPoolTooLarge));
  rule_.kind = model::SnatKind::kStatic;
  static_cast<void>(rule_.add(*range));  // whether it is the only one is checked at the end
  inside_ = *inside;
  return {};
}

Fault RuleReader::check_family(const net::IpAddress& address, std::string_view what) const {
  if (address.family() == rule_.family) return {};
  return fmt::format(
      "{} {} is {}, but the addresses that hosts get are {}: make a rule for each family", what,
      address.to_text(), version_of(address.family()), version_of(rule_.family));
}

Fault RuleReader::finish() {
  const auto has = [&](std::string_view name) {
    return std::find(seen_.begin(), seen_.end(), name) != seen_.end();
  };
  if (!has("--pool") && !has("--static")) {
    return "which addresses do hosts get? --pool ADDRESS[-ADDRESS], or --static INSIDE=OUTSIDE";
  }
  if (has("--static") && (has("--pool") || has("--inside"))) {
    return "--static names inside and outside addresses by itself: neither --inside nor --pool "
           "goes with it";
  }
  rule_.family = rule_.pool[0].first.family();
  const auto any = model::MarkRule::any(rule_.family);
  rule_.inside = inside_.value_or(any);
  rule_.destination = destination_.value_or(any);
  if (auto fault = check_family(rule_.inside.address, "--inside")) return fault;
  if (auto fault = check_family(rule_.destination.address, "--destination")) return fault;
  for (std::size_t i = 0; i < rule_.pool_count; ++i) {
    if (auto fault = check_family(rule_.pool[i].first, "--pool")) return fault;
    if (auto fault = check_family(rule_.pool[i].last, "--pool")) return fault;
  }
  // "icmp" is that of the family.
  if (rule_.protocol == kIcmp && rule_.family == net::Family::kIpv6) rule_.protocol = kIcmpv6;
  const auto fault = model::fault_of(rule_);
  if (fault != model::SnatFault::kNone) return std::string(model::to_text(fault));
  return {};
}

}  // namespace

tl::expected<model::SnatRule, std::string> parse_snat_rule(std::span<const std::string> words) {
  return RuleReader(words).read();
}

}  // namespace lb::cli
