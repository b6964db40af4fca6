// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/result.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {

/// What clients can have the daemon do beyond what its director does.
class DaemonControl {
 public:
  virtual ~DaemonControl() = default;
  /// Ends the daemon once the request is acknowledged. ENOTSUP, and it goes on: nothing of it can
  /// outlive it, but that was asked for.
  [[nodiscard]] virtual Result<void> stop(wire::StopMode mode) = 0;
};

}  // namespace lb::control
