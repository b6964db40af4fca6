// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bpf/flow_abi.h"
#include "bpf/stand_in_abi.h"
#include "engine/zeroed_array.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// The memory that the flow table lives in (see bpf/flow_abi.h): BPF arrays in the daemon, plain
/// memory in a test. All of it is zero at first, but what `settings` says of sizes and secrets.
struct FlowMemory {
  flow_settings* settings = nullptr;
  std::span<flow_bucket4> flows4;
  std::span<flow_bucket6> flows6;
  std::span<flow_end_bucket4> ends4;
  std::span<flow_end_bucket6> ends6;
  std::span<flow_endpoint> endpoints;  ///< FLOW_ENDS
  std::span<flow_target> targets;      ///< by id of a destination
  std::span<flow_hop> hops;            ///< FLOW_HOPS
  std::span<const flow_counters> counters;
  /// For the time without an engine (see bpf/stand_in_abi.h); null: XDP does not stand in.
  stand_in_control* control = nullptr;
  std::span<stand_in_end> stand_in_ends;  ///< FLOW_ENDS
  std::span<stand_in_port> ports;         ///< FLOW_DEVICES
  std::span<stand_in_pair> slots;
  std::span<stand_in_note> notes;
  std::uint32_t lanes = 1;  ///< CPUs that packets come in by at the same time
  Duration time_origin{0};  ///< CLOCK_MONOTONIC at the director's Timestamp{}

  /// Buckets for so many connections of that family: two flows for each at four fifths of fill
  /// (what finds no room stays with the engine). There are some in any case.
  [[nodiscard]] static std::uint32_t buckets4_for(std::size_t connections) noexcept {
    return static_cast<std::uint32_t>(connections * 5 / 8 + 16);
  }
  [[nodiscard]] static std::uint32_t buckets6_for(std::size_t connections) noexcept {
    return static_cast<std::uint32_t>(connections * 5 / 4 + 16);
  }
};

}  // namespace lb::engine
