// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// Runs the subcommands of `sluice` that are clients of the daemon, and its help.
/// `arguments[0]` is the program's name. Exit status: 0, 1 if the director could not be asked,
/// 2 if the command line makes no sense.
[[nodiscard]] ProgramResult run_sluice(std::span<const std::string> arguments,
                                       const std::string& version, wire::Transport& transport);

}  // namespace lb::cli
