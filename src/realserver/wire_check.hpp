// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host/wire_probe.hpp"
#include "realserver/plan.hpp"
#include "realserver/setup.hpp"

namespace lb::realserver {

/// Who answered for one virtual address on one interface.
struct VipOwner {
  net::IpAddress vip;
  std::string interface;
  std::vector<net::Mac> answers;
  std::optional<net::Mac> director;  ///< of the director, if its address was given and answered
};

/// Asks on the interfaces of `setup` who has its virtual addresses (half a second).
[[nodiscard]] host::Outcome<std::vector<VipOwner>> ask_for_vips(const Setup& setup,
                                                                const HostState& state);

/// Adds to `plan` what the answers mean: the director alone must answer.
void judge_owners(Plan& plan, Mode mode, const std::vector<VipOwner>& owners);

}  // namespace lb::realserver
