// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "cli/nft_values.hpp"
#include "model/mark_rule.hpp"

namespace lb::cli::nft {

/// True if one of the rule's statements sets the packet's mark.
[[nodiscard]] bool sets_mark(const Json& expressions);

/// The mark rules that do what a rule of nft does to marks: its statements, in a table of
/// `family` ("ip", "ip6" or "inet"). None if it does nothing to them. The error is a sentence:
/// what in it has no counterpart here.
[[nodiscard]] tl::expected<std::vector<model::MarkRule>, std::string> read_rule(
    const Json& expressions, std::string_view family);

}  // namespace lb::cli::nft
