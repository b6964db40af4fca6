// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/ipvsadm.hpp"
#include "model/snat.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// `sluice snat ...`: the rules of source NAT. `arguments[0]` is what to do with them. Exit status
/// as of `run_sluice`.
[[nodiscard]] ProgramResult run_snat(std::span<const std::string> arguments,
                                     wire::Transport& transport);

}  // namespace lb::cli
