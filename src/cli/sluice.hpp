// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// Runs the subcommands of `sluice` that are clients of the daemon, and its help.
/// `arguments[0]` is the program's name, `input` what the commands of `sluice_input` read.
/// Exit status: 0, 1 if the director could not be asked or refused, 2 if the command line makes no
/// sense, 3 if an import left rules out; of `status` a `State` (status.hpp).
[[nodiscard]] ProgramResult run_sluice(std::span<const std::string> arguments,
                                       const std::string& version, wire::Transport& transport,
                                       const std::string& input = {});

/// The file that the command line wants as input; empty: the standard input; null: none.
[[nodiscard]] std::optional<std::string> sluice_input(std::span<const std::string> arguments);

}  // namespace lb::cli
