// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "net/result.hpp"

namespace lb::cli {

/// What was asked when an error came: the same errno reads differently.
enum class Asked : std::uint8_t {
  kInfo,
  kAddService,
  kEditService,
  kDeleteService,
  kGetService,
  kListServices,
  kZero,
  kFlush,
  kAddServer,
  kEditServer,
  kDeleteServer,
  kListServers,
  kTimeouts,
  kStartDaemon,
  kStopDaemon,
};

/// The sentence that ipvsadm prints for `error`, without line end.
[[nodiscard]] std::string error_text(Asked asked, Error error);

}  // namespace lb::cli
