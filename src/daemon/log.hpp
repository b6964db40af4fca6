// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "datapath/datapath.hpp"

namespace lb::daemon {

using LogLevel = datapath::LogLevel;

/// Writes log lines to standard error from `level` on. Error: act now; warning: the service is
/// degraded; info: the configuration changed. Nothing is logged per packet or connection.
void start_log(LogLevel level);

/// Writes one line. Does nothing before `start_log`.
void log(LogLevel level, std::string_view message);

}  // namespace lb::daemon
