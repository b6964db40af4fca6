// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

/// Whole files of rules: what `ipvsadm -S` writes, and what has no option of ipvsadm (`mark add`).
namespace lb::cli {

/// `sluice restore [--atomic] [--replace]`, over `text`, whose errors name `file`. With --atomic
/// either all lines are applied or nothing is changed.
[[nodiscard]] ProgramResult run_restore(std::span<const std::string> arguments,
                                        const std::string& file, std::string_view text,
                                        wire::Transport& transport);

/// `sluice save`: all rules of the director, in the form that `sluice restore` and
/// `sluiced --rules` read.
[[nodiscard]] ProgramResult run_save(std::span<const std::string> arguments,
                                     wire::Transport& transport);

/// The file that the words behind `restore` name; empty: the standard input.
[[nodiscard]] std::string restore_file(std::span<const std::string> arguments);

/// Debian's ipvsadm-save: `ipvsadm -S`, with -n numeric.
[[nodiscard]] ProgramResult run_ipvsadm_save(std::span<const std::string> arguments,
                                             wire::Transport& transport);
/// Debian's ipvsadm-restore: clears the table, then `ipvsadm -R` without lines that begin with #.
[[nodiscard]] ProgramResult run_ipvsadm_restore(const std::string& input,
                                                wire::Transport& transport);

}  // namespace lb::cli
