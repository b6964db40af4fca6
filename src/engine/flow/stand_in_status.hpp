// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace lb::engine {

/// What XDP has to go by without an engine, for an operator.
struct StandInStatus {
  std::uint32_t tables = 0;   ///< services that have one
  std::uint32_t refused = 0;  ///< services whose table found no room
  std::uint32_t slots_used = 0;
  std::uint32_t slots = 0;
  bool is_active = false;      ///< XDP decided in the last seconds
  bool is_table_full = false;  ///< the engine is handed no new flows that tables are for
  std::uint64_t times = 0;     ///< so often XDP began to decide since this engine started
  std::uint64_t given_up = 0;  ///< half-open connections whose room others got
  std::uint64_t noted = 0;     ///< flows that began without an engine
  std::uint64_t full = 0;      ///< such flows that found no room for a note
  std::uint64_t adopted = 0;   ///< of the noted, connections now
  std::uint64_t lost = 0;      ///< of the noted, those that could not become any
};

}  // namespace lb::engine
