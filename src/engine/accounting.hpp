// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// Counts a client's packet of `record` at its destination, the destination's service and in
/// total; nothing once the destination is removed, as IPVS does. Bytes are of the IP packet.
inline void count_in(DirectorState& state, const ConnectionRecord& record,
                     const PacketContext& context) noexcept {
  auto* destination = state.connections.destination(record);
  if (destination == nullptr || !destination->is_available) return;
  const auto bytes = context.headers.ip_size();
  for (auto* counters : {&destination->statistics.counters,
                         &destination->service->statistics.counters, &state.totals.counters}) {
    ++counters->packets_in;
    counters->bytes_in += bytes;
  }
}

/// Counts a real server's answer in the same way.
inline void count_out(DirectorState& state, const ConnectionRecord& record,
                      const PacketContext& context) noexcept {
  auto* destination = state.connections.destination(record);
  if (destination == nullptr || !destination->is_available) return;
  const auto bytes = context.headers.ip_size();
  for (auto* counters : {&destination->statistics.counters,
                         &destination->service->statistics.counters, &state.totals.counters}) {
    ++counters->packets_out;
    counters->bytes_out += bytes;
  }
}

}  // namespace lb::engine
