// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/host_ports.hpp"
#include "engine/snat_numbers.hpp"
#include "engine/snat_rules.hpp"
#include "engine/zeroed_array.hpp"

namespace lb::engine {

struct DirectorState;
class SteeringListener;

/// What the director holds for SNAT.
struct Snat {
  SnatRules rules;
  std::unique_ptr<HostPorts> host_ports = std::make_unique<HostPorts>();
  std::optional<ZeroedArray<SnatNumbers>> numbers{};  ///< by connection; once there was a rule
  SteeringListener* listener = nullptr;
  std::uint64_t steered_rules = 0;  ///< generations that the listener was told of last
  std::uint64_t steered_network = 0;
  std::uint64_t choices = 0;  ///< ports chosen so far; part of what the next is drawn by
};

// Of the configuration.
/// Takes over the rules that were left, after destinations and before connections.
void restore_snat_rules(DirectorState& state);
void zero_snat_rules(DirectorState& state);

}  // namespace lb::engine
