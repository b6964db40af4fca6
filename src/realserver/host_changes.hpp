// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "host/rtnetlink.hpp"
#include "realserver/plan.hpp"
#include "realserver/setup.hpp"

namespace lb::realserver {

/// Reads what a plan for `setup` needs to know of this host.
[[nodiscard]] host::Outcome<HostState> read_host(host::Rtnetlink& kernel, const Setup& setup);

/// Carries out one change.
[[nodiscard]] host::Outcome<void> carry_out(host::Rtnetlink& kernel, const Setup& setup,
                                            const Change& change);

/// Takes one change back, if it is still in place. What somebody else has changed since stays:
/// then a sentence says so.
[[nodiscard]] host::Outcome<std::optional<std::string>> take_back(host::Rtnetlink& kernel,
                                                                  const Change& change);

}  // namespace lb::realserver
