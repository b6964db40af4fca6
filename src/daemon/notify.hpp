// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace lb::daemon {

/// Tells the service manager `state` ("READY=1", "STOPPING=1"), by the datagram socket that
/// NOTIFY_SOCKET names (sd_notify(3)). Does nothing without one.
void notify_service_manager(std::string_view state);

/// How long the service manager waits for a sign of life ("WATCHDOG=1") before it takes the
/// daemon for hung, by WATCHDOG_USEC and WATCHDOG_PID (sd_watchdog_enabled(3)). Nothing: it does
/// not watch this process. A value that makes no sense is logged and is nothing, too.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_limit();

}  // namespace lb::daemon
