// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <tl/expected.hpp>

#include "cli/command.hpp"
#include "cli/stop.hpp"

namespace lb::cli {

/// Reads one ipvsadm command line; `arguments[0]` is the program's name and something follows.
/// The result is complete: options fit the command, defaults are filled in.
[[nodiscard]] tl::expected<Command, Stop> parse_command(std::span<const std::string> arguments);

}  // namespace lb::cli
