// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/ipvsadm.hpp"
#include "cli/socket_transport.hpp"

namespace lb::cli {

/// `sluice stop`: has the director end, and waits until its process is gone.
[[nodiscard]] ProgramResult run_stop(std::span<const std::string> options,
                                     SocketTransport& transport);

}  // namespace lb::cli
