// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

/// Makes a director equal to a file that says what it is to have.
namespace lb::cli {

/// `sluice apply [--dry-run] [FILE]`, over `text`, whose errors name `file`. Changes only what
/// differs, all of it or nothing.
[[nodiscard]] ProgramResult run_apply(std::span<const std::string> arguments,
                                      const std::string& file, std::string_view text,
                                      wire::Transport& transport);

/// `sluice export`: the file that describes the director.
[[nodiscard]] ProgramResult run_export(std::span<const std::string> arguments,
                                       wire::Transport& transport);

}  // namespace lb::cli
