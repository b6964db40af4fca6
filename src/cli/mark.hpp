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

/// Why the director refused a change of the mark rules.
[[nodiscard]] std::string mark_refusal_text(Error error);

}  // namespace lb::cli
