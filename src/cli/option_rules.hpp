// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <tl/expected.hpp>

#include "cli/command.hpp"
#include "cli/stop.hpp"

namespace lb::cli {

/// The name that error texts give an option.
[[nodiscard]] std::string_view option_name(Option option) noexcept;

/// Checks that the options fit the command (none that it forbids, all that it demands, and of those
/// that exclude each other at most one) and each other; fills in what was left out.
[[nodiscard]] tl::expected<void, Stop> complete(Command& command);

}  // namespace lb::cli
