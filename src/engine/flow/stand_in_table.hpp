// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/flow/flow_ends.hpp"
#include "engine/flow/slot_pool.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// What is published of a service for the time without an engine. Part of the service; only StandIn
/// looks inside.
struct StandInTable {
  struct Member {
    std::uint32_t destination = 0;  ///< id; its target is held
    std::uint32_t real_end = 0;     ///< number, of a masqueraded one; held
  };
  std::uint32_t end = 0;  ///< number of the virtual endpoint, held; 0: nothing is published
  std::uint64_t word = 0;
  SlotPool::Run run;
  std::vector<Member> members;
  std::vector<FlowEnd> real_ends;  ///< masqueraded ones, as they are counted
  std::uint64_t published_at = 0;  ///< in 2^FLOW_ALIVE_SHIFT ns
  /// The targets of the table before, while flows may go by it that nobody noted.
  std::vector<std::uint32_t> previous;
  std::uint64_t previous_used = 0;  ///< when XDP sent a flow by it last
  bool is_waiting = false;          ///< to be published anew
  bool is_refused = false;          ///< there was no room
};

/// A destination that a table is made for.
struct TableClaimant {
  std::uint32_t destination = 0;  ///< id
  std::int32_t weight = 1;        ///< above 0
  std::uint64_t seed = 0;         ///< of its order of places: the same for the same server
};

/// Fills `table` by Maglev hashing (Eisenbud et al., "Maglev", NSDI 2016, section 3.4), with shares
/// by weight: each destination has its own order of all places, and they take turns in claiming the
/// next free one, so that little moves when a destination comes or goes. The size must be prime, or
/// 1 for one claimant; there must be some.
void fill_table(std::span<std::uint32_t> table, std::vector<TableClaimant> claimants);

}  // namespace lb::engine
