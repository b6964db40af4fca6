// SPDX-License-Identifier: Apache-2.0
#include "cli/mark_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

namespace lb::cli {
namespace {

struct ProtocolName {
  std::string_view name;
  std::uint8_t number;
};
// As /etc/protocols and iptables have them. The first name of a number is the one that is written.
constexpr auto kProtocols = std::to_array<ProtocolName>({{"all", 0},
                                                         {"icmp", 1},
                                                         {"ipip", 4},
                                                         {"ipencap", 4},
                                                         {"tcp", 6},
                                                         {"udp", 17},
                                                         {"dccp", 33},
                                                         {"ipv6", 41},
                                                         {"gre", 47},
                                                         {"esp", 50},
                                                         {"ah", 51},
                                                         {"ipv6-icmp", 58},
                                                         {"icmpv6", 58},
                                                         {"ospf", 89},
                                                         {"sctp", 132},
                                                         {"udplite", 136}});

std::string ports_text(const model::PortMatch& match) {
  std::string text;
  for (std::size_t i = 0; i < match.count; ++i) {
    const auto& [first, last] = match.ranges[i];
    if (i != 0) text += ',';
    text += first == last ? std::to_string(first) : fmt::format("{}:{}", first, last);
  }
  return text;
}

std::optional<std::uint8_t> mask_length(const net::IpAddress& mask) {
  const unsigned width = static_cast<unsigned>(mask.size() * 8);
  std::array<std::uint8_t, 16> ones{};
  std::fill_n(ones.begin(), mask.size(), std::uint8_t{0xff});
  const auto full = mask.is_v4() ? net::IpAddress::v4(net::Be32::from_network(UINT32_MAX))
                                 : net::IpAddress::v6(ones);
  for (unsigned length = 0; length <= width; ++length) {
    if (full.prefix(length) == mask) return static_cast<std::uint8_t>(length);
  }
  return std::nullopt;
}

}  // namespace

std::string quoted_word(std::string_view word) {
  if (word.find_first_of(" \t\"\\") == std::string_view::npos) return std::string(word);
  std::string text = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

std::optional<std::uint32_t> parse_unsigned(std::string_view text, std::uint32_t highest) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  std::uint32_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || rest != end || value > highest) return std::nullopt;
  return value;
}

std::string protocol_name(std::uint8_t number) {
  const auto* found = std::find_if(kProtocols.begin(), kProtocols.end(),
                                   [&](const auto& entry) { return entry.number == number; });
  return found == kProtocols.end() ? std::to_string(number) : std::string(found->name);
}

std::optional<std::uint8_t> parse_protocol(std::string_view text) {
  if (const auto number = parse_unsigned(text, UINT8_MAX)) {
    return static_cast<std::uint8_t>(*number);
  }
  const auto* found = std::find_if(kProtocols.begin(), kProtocols.end(),
                                   [&](const auto& entry) { return entry.name == text; });
  if (found == kProtocols.end()) return std::nullopt;
  return found->number;
}

std::optional<model::PrefixMatch> parse_prefix(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = net::IpAddress::from_text(text.substr(0, slash));
  if (!address) return std::nullopt;
  auto length = static_cast<std::uint8_t>(address->size() * 8);
  if (slash != std::string_view::npos) {
    const auto rest = text.substr(slash + 1);
    if (const auto bits = parse_unsigned(rest, length)) {
      length = static_cast<std::uint8_t>(*bits);
    } else {
      const auto mask = net::IpAddress::from_text(rest);
      const auto of_mask =
          mask && mask->family() == address->family() ? mask_length(*mask) : std::nullopt;
      if (!of_mask) return std::nullopt;
      length = *of_mask;
    }
  }
  return model::PrefixMatch{.address = address->prefix(length), .length = length};
}

tl::expected<std::vector<std::string>, std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  bool is_in_word = false;
  bool is_quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool is_blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (is_blank && !is_quoted) {
      is_in_word = false;
      continue;
    }
    if (!is_in_word) words.emplace_back();
    is_in_word = true;
    if (c == '"') {
      is_quoted = !is_quoted;
    } else if (c == '\\' && is_quoted && i + 1 < line.size()) {
      words.back() += line[++i];
    } else {
      words.back() += c;
    }
  }
  if (is_quoted) return tl::unexpected(std::string("a quote is not closed"));
  return words;
}

std::string mark_rule_text(const model::MarkRule& rule) {
  std::string text = rule.family == net::Family::kIpv4 ? "-4" : "-6";
  const auto out = std::back_inserter(text);
  const auto bang = [](bool is_negated) { return is_negated ? " !" : ""; };
  const auto prefix = [&](std::string_view option, const model::PrefixMatch& match) {
    if (match.length == 0 && !match.is_negated) return;
    fmt::format_to(out, "{} {} {}/{}", bang(match.is_negated), option, match.address.to_text(),
                   match.length);
  };
  prefix("-s", rule.source);
  prefix("-d", rule.destination);
  if (!rule.interface.empty()) {
    fmt::format_to(out, "{} -i {}", bang(rule.is_interface_negated),
                   quoted_word(rule.interface.view()));
  }
  if (rule.protocol != 0) {
    fmt::format_to(out, "{} -p {}", bang(rule.is_protocol_negated), protocol_name(rule.protocol));
  }
  const auto ports = [&](std::string_view option, const model::PortMatch& match) {
    if (!match.is_asked()) return;
    const bool is_list = match.count > 1 || option == "--port";
    fmt::format_to(out, "{}{} {}{} {}", is_list ? " -m multiport" : "", bang(match.is_negated),
                   option, is_list ? "s" : "", ports_text(match));
  };
  ports("--sport", rule.source_ports);
  ports("--dport", rule.destination_ports);
  ports("--port", rule.either_port);
  if (rule.action == model::MarkAction::kReturn) {
    text += " -j RETURN";
  } else if (rule.mask == UINT32_MAX) {
    fmt::format_to(out, " -j MARK --set-mark {:#x}", rule.value);
  } else {
    fmt::format_to(out, " -j MARK --set-xmark {:#x}/{:#x}", rule.value, rule.mask);
  }
  return text;
}

}  // namespace lb::cli
