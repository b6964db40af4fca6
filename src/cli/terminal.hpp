// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <tl/expected.hpp>

#include "cli/ipvsadm.hpp"

/// The standard streams of the command-line programs.
namespace lb::cli {

/// Whether an ipvsadm command line is a restore, which reads rules.
[[nodiscard]] bool reads_rules(std::span<const std::string> arguments);

[[nodiscard]] std::string read_standard_input();

/// Writes output and errors; returns the exit status, which is a failure if not all of the
/// output could be written.
[[nodiscard]] int leave(const ProgramResult& result);

/// All of a file, or of the standard input if `file` is empty. The error is a sentence.
[[nodiscard]] tl::expected<std::string, std::string> read_input(const std::string& file);

}  // namespace lb::cli
