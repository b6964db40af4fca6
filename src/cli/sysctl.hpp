// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/ipvsadm.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// `sluice sysctl [NAME[=VALUE] ...]`: all settings, or those named, each set first if a value is
/// given. Names are those of sysctl(8); "net.ipv4.vs." may be left out.
[[nodiscard]] ProgramResult run_sysctl(std::span<const std::string> arguments,
                                       wire::Transport& transport);

}  // namespace lb::cli
