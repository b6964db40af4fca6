// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director.hpp"

namespace lb::engine {

/// The rest of Director::zero_all, for who zeroes services one by one: totals, and rules of source
/// NAT.
void zero_the_rest(Director& director);

}  // namespace lb::engine
