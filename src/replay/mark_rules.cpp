// SPDX-License-Identifier: Apache-2.0
#include "replay/mark_rules.hpp"

#include <charconv>
#include <sstream>

namespace lb::replay {
namespace {

std::optional<std::uint32_t> number(const std::string& text) {
  std::uint32_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

std::optional<std::uint8_t> protocol_number(const std::string& text) {
  if (text == "tcp") return 6;
  if (text == "udp") return 17;
  if (text == "sctp") return 132;
  if (text == "icmp") return 1;
  return std::nullopt;
}

/// Applies one option with its value; false if either is unknown.
bool apply_option(MarkRule& rule, const std::string& option, const std::string& value) {
  if (option == "-t") return value == "mangle";
  if (option == "-A") return value == "PREROUTING";
  if (option == "-j") return value == "MARK";
  if (option == "-i") {
    rule.port = value;
    return true;
  }
  if (option == "-d") {
    rule.destination = prefix_from_text(value);
    return rule.destination && rule.destination->address.family() == rule.family;
  }
  if (option == "-p") {
    rule.protocol = protocol_number(value);
    return rule.protocol.has_value();
  }
  const auto parsed = number(value);
  if (!parsed) return false;
  if (option == "--dport") {
    rule.destination_port = static_cast<std::uint16_t>(*parsed);
    return *parsed <= 0xffff;
  }
  if (option == "--set-mark") {
    rule.mark = *parsed;
    return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

bool is_in(const net::IpAddress& address, const InterfaceAddress& prefix) noexcept {
  return address.family() == prefix.address.family() &&
         address.prefix(prefix.prefix_length) == prefix.address.prefix(prefix.prefix_length);
}

bool MarkRule::matches(const IpView& ip, std::string_view ingress) const {
  if (ip.source.family() != family) return false;
  if (!port.empty() && port != ingress) return false;
  if (destination && !is_in(ip.destination, *destination)) return false;
  if (protocol && ip.protocol != *protocol) return false;
  if (!destination_port) return true;
  const auto ports = ports_of(ip);
  return ports && ports->destination == *destination_port;
}

tl::expected<MarkRule, std::string> parse_mark_rule(const std::string& text) {
  const auto words = words_of(text);
  const auto fail = [&](const std::string& word) {
    return tl::unexpected("mark rule \"" + text + "\": \"" + word + "\" is not understood");
  };
  if (words.empty() || (words[0] != "iptables" && words[0] != "ip6tables")) return fail(text);
  MarkRule rule;
  if (words[0] == "ip6tables") rule.family = net::Family::kIpv6;
  for (std::size_t i = 1; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return fail(words[i]);
    if (!apply_option(rule, words[i], words[i + 1])) return fail(words[i] + " " + words[i + 1]);
  }
  return rule;
}

}  // namespace lb::replay
