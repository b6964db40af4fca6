// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"

namespace lb::engine {

/// Leaves a destination as it is now to the next director.
void save(DirectorState& state, const Destination& destination) noexcept;
/// Leaves counters to the next director, some at each call.
void save_counters(DirectorState& state) noexcept;

}  // namespace lb::engine
