// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// Carries out one line of the rules that a daemon starts with: a line of `ipvsadm -S`, or
/// `mark add RULE`, `snat add RULE` or `service set ...` as of `sluice`.
[[nodiscard]] ProgramResult load_rule(const std::string& line, wire::Transport& transport);

}  // namespace lb::cli
