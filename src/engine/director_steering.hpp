// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"

namespace lb::engine {

/// Has the answers of a masquerading destination come by even before its first connection.
void steer(DirectorState& state, Destination& destination);
/// Takes that back.
void unsteer(DirectorState& state, Destination& destination);

}  // namespace lb::engine
