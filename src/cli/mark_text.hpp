// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "model/mark_rule.hpp"

/// Mark rules as text: the words that iptables has for the match and for the target MARK.
namespace lb::cli {

/// The words of a line. Double quotes hold words together, a backslash inside them takes the next
/// character as it is. The error is a sentence.
[[nodiscard]] tl::expected<std::vector<std::string>, std::string> split_words(
    std::string_view line);

/// Reads a rule: `[-4|-6] [-p PROTOCOL] [-s PREFIX] [-d PREFIX] [-i INTERFACE] [--sport PORTS]
/// [--dport PORTS] [-m multiport --dports PORTS,...] -j MARK --set-mark VALUE[/MASK]`, with `!`
/// before what is to be negated; also `-j RETURN`. A whole iptables command
/// (`iptables -t mangle -A PREROUTING ...`, `ip6tables ...`) is one too.
///
/// The family is that of `-4`, `-6` or of the addresses, else `family`, else IPv4. The error is a
/// sentence that names the word at fault: a rule half understood would mark the wrong packets.
[[nodiscard]] tl::expected<model::MarkRule, std::string> parse_mark_rule(
    std::span<const std::string> words, std::optional<net::Family> family = std::nullopt);

/// The rule in those words, ready for `parse_mark_rule`.
[[nodiscard]] std::string mark_rule_text(const model::MarkRule& rule);

/// `word`, in quotes if need be: `split_words` gives it back.
[[nodiscard]] std::string quoted_word(std::string_view word);
/// Reads an address with a prefix length or a mask behind a slash; null if it is none. Bits
/// beyond the prefix are cleared, as iptables does.
[[nodiscard]] std::optional<model::PrefixMatch> parse_prefix(std::string_view text);
/// Reads a decimal number without sign up to `highest`, or with 0x a hexadecimal and with 0 an
/// octal one.
[[nodiscard]] std::optional<std::uint32_t> parse_unsigned(std::string_view text,
                                                          std::uint32_t highest = UINT32_MAX);
/// Reads the name or number of an IP protocol; "all" is 0.
[[nodiscard]] std::optional<std::uint8_t> parse_protocol(std::string_view text);
/// The name of an IP protocol, or its number as text.
[[nodiscard]] std::string protocol_name(std::uint8_t number);

}  // namespace lb::cli
