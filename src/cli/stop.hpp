// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace lb::cli {

/// Why a command line was not carried out, or need not be.
struct Stop {
  /// Whether the whole program ends, also in the middle of a restore. ipvsadm goes on with the
  /// next rule only after an option that popt rejects.
  bool ends_program = true;
  int exit_status = 0;
  std::string out;
  std::string err;
};

/// Exit status of a command that ipvsadm reports as -1.
inline constexpr int kFailed = 255;
/// Exit status of a command line that makes no sense.
inline constexpr int kUsageError = 2;

/// A mistake in the command line, as ipvsadm reports it.
[[nodiscard]] inline tl::unexpected<Stop> usage_error(std::string message) {
  message += '\n';
  return tl::unexpected(Stop{.exit_status = kUsageError, .out = {}, .err = std::move(message)});
}

}  // namespace lb::cli
