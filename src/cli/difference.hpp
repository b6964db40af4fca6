// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/director_state.hpp"
#include "cli/ipvs_client.hpp"

namespace lb::cli {

/// One step from what a director has to what it is to have.
struct Change {
  std::string text;  ///< lines "- was" and "+ is to be", in the words of rules
  Place place{};     ///< of what asks for it
};

/// Sends the requests that make `running` equal to `wanted` by way of `client`, and tells each:
/// one request a change. What `wanted` does not name (settings, timeouts, mark rules, SNAT rules)
/// stays.
[[nodiscard]] std::vector<Change> send_difference(const DirectorState& running,
                                                  const DirectorState& wanted, IpvsClient& client);

}  // namespace lb::cli
