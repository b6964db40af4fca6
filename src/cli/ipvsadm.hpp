// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "wire/transport.hpp"

namespace lb::cli {

/// What a command-line program leaves behind.
struct ProgramResult {
  int exit_status = 0;
  std::string out;
  std::string err;
};

/// Runs one ipvsadm command line (`arguments[0]` is the program's name) against the director
/// behind `transport`, reading rules for -R from `input`. Options, output, error texts and exit
/// status are those of ipvsadm 1.31.
[[nodiscard]] ProgramResult run_ipvsadm(std::span<const std::string> arguments,
                                        const std::string& input, wire::Transport& transport);

}  // namespace lb::cli
