// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "datapath/datapath.hpp"

namespace lb::daemon {

using LogLevel = datapath::LogLevel;

enum class LogFormat : std::uint8_t {
  kText,  ///< a sentence a line, with time and level in front
  kJson,  ///< an object a line: time (UTC), level, name, message
};

/// Writes log lines to standard error from `level` on. Error: act now; warning: the service is
/// degraded; info: the configuration changed. Nothing is logged per packet or connection.
void start_log(LogLevel level, LogFormat format);

/// Changes both for the lines to come. Does nothing before `start_log`.
void change_log(LogLevel level, LogFormat format);

/// Writes one line. Does nothing before `start_log`.
void log(LogLevel level, std::string_view message);

/// `text` as the inside of a JSON string (RFC 8259 section 7). Bytes that are no UTF-8 become
/// U+FFFD: file names may hold any.
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace lb::daemon
