// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <tl/expected.hpp>

#include "model/snat.hpp"

/// Rules of source NAT in words (docs/snat.md).
namespace lb::cli {

/// Reads `NAME --inside PREFIX --pool ADDRESS[-ADDRESS][,...]` with what else there is, or
/// `NAME --static INSIDE=OUTSIDE`. The short options of iptables (-s, -d, -o, -p) and its
/// `-j SNAT --to-source` are taken as well.
///
/// The error is a sentence that names the words at fault; what it accepts has no fault.
[[nodiscard]] tl::expected<model::SnatRule, std::string> parse_snat_rule(
    std::span<const std::string> words);

/// The rule in those words, its name in front.
[[nodiscard]] std::string snat_rule_text(const model::SnatRule& rule);
/// As `snat_rule_text`, without the name.
[[nodiscard]] std::string snat_options_text(const model::SnatRule& rule);

/// Why a rule can't stand beside another one, and what to do.
[[nodiscard]] std::string snat_conflict_text(const model::SnatConflict& conflict);

/// Of the last connection that a rule refused: whose it was, and why, in words; empty: there is
/// none.
[[nodiscard]] std::string last_refusal_text(const model::SnatRuleInfo& info);

}  // namespace lb::cli
