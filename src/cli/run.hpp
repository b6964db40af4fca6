// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace lb::cli {

/// `sluice run [--] COMMAND ARGUMENTS...`: becomes COMMAND with the library preloaded that makes
/// programs of the kernel's IPVS talk to sluiced. `arguments` begin behind "run". Returns only if
/// it fails, with the exit status, as env(1): 125 it could not be tried, 126 COMMAND cannot be
/// executed, 127 there is none; 2: no COMMAND.
[[nodiscard]] int run_with_library(std::span<const std::string> arguments);

}  // namespace lb::cli
