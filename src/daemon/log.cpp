// SPDX-License-Identifier: Apache-2.0
#include "daemon/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace lb::daemon {
namespace {

std::unique_ptr<spdlog::logger> logger;

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

void start_log(LogLevel level) {
  // One thread writes, and systemd adds its own time: no locks, plain lines.
  logger = std::make_unique<spdlog::logger>("sluiced",
                                            std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %n: %l: %v");
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::debug);
}

void log(LogLevel level, std::string_view message) {
  if (logger) logger->log(to_spdlog(level), message);
}

}  // namespace lb::daemon
