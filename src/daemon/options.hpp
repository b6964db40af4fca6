// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "daemon/configuration.hpp"

namespace lb::daemon {

/// What the command line asks for.
struct Options {
  enum class Action { kRun, kShowHelp, kShowVersion };
  Action action = Action::kRun;
  Configuration configuration;
};

/// Reads the command line (`arguments[0]` is the program's name) and the configuration file it
/// names; flags win over the file. The error is a sentence for the user.
[[nodiscard]] tl::expected<Options, std::string> parse_options(
    std::span<const std::string> arguments);

/// The text of --help.
[[nodiscard]] std::string_view help_text();

}  // namespace lb::daemon
