// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine/director.hpp"
#include "engine/network_view.hpp"
#include "engine/snat_rules.hpp"

namespace lb::engine {

/// The prefixes that packets of `rules` are steered by: sorted, each once.
[[nodiscard]] std::vector<SnatPrefix> snat_prefixes(const SnatRules& rules,
                                                    const NetworkView& network);

/// Tells the listener of the prefixes if rules or the network have changed since it was told last.
void update_snat_steering(DirectorState& state);

}  // namespace lb::engine
