// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "model/mark_rule.hpp"

/// Takes the mark rules out of a firewall's configuration.
namespace lb::cli {

/// A rule that is or may be about marks and could not be taken.
struct RefusedRule {
  std::string where;   ///< "line 12", "table ip mangle, chain prerouting, handle 5"
  std::string reason;  ///< a sentence
  std::string text;    ///< the rule
};

struct MarkImport {
  std::vector<model::MarkRule> rules;
  std::vector<RefusedRule> refused;
};

/// Reads the output of iptables-save or ip6tables-save: the MARK, RETURN and ACCEPT rules of
/// mangle's PREROUTING. `family` is that of rules which name no address; without it, the comment
/// in the first lines of the output tells. The error: this is no such output.
[[nodiscard]] tl::expected<MarkImport, std::string> import_iptables(
    std::string_view text, std::optional<net::Family> family = std::nullopt);

/// Reads the output of `nft -j list ruleset`: the rules of base chains with hook prerouting that
/// set the packet's mark, in the order of the chains' priorities. A rule of nft may become several
/// (both families, sets of addresses or protocols). The error: this is no such output.
[[nodiscard]] tl::expected<MarkImport, std::string> import_nft(std::string_view text);

}  // namespace lb::cli
