// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace lb::engine {

/// What is in the flow table, for an operator.
struct FastPathStatus {
  std::uint32_t flows = 0;
  std::uint32_t ends = 0;
  std::uint64_t refused = 0;  ///< flows that found no room, no number or no way
  bool enabled = false;
};

}  // namespace lb::engine
