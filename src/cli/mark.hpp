// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// `sluice mark ...`: the rules that give packets firewall marks. `arguments[0]` is what to do
/// with them, `input` what `restore` and the imports read. Exit status as of `run_sluice`.
[[nodiscard]] ProgramResult run_mark(std::span<const std::string> arguments,
                                     const std::string& input, wire::Transport& transport);

/// Whether that subcommand of `sluice mark` reads input.
[[nodiscard]] bool mark_reads_input(std::string_view subcommand);

}  // namespace lb::cli
