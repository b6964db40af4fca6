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
  for (auto* statistics :
       {&destination->statistics, &destination->service->statistics, &state.totals}) {
    auto& counters = statistics->counters(state.estimation_tick);
    ++counters.packets_in;
    counters.bytes_in += bytes;
  }
}

/// Counts a packet of `bytes` to the client in the same way.
inline void count_out(DirectorState& state, const ConnectionRecord& record,
                      std::size_t bytes) noexcept {
  auto* destination = state.connections.destination(record);
  if (destination == nullptr || !destination->is_available) return;
  for (auto* statistics :
       {&destination->statistics, &destination->service->statistics, &state.totals}) {
    auto& counters = statistics->counters(state.estimation_tick);
    ++counters.packets_out;
    counters.bytes_out += bytes;
  }
}

/// Counts a real server's answer.
inline void count_out(DirectorState& state, const ConnectionRecord& record,
                      const PacketContext& context) noexcept {
  count_out(state, record, context.headers.ip_size());
}

/// Counts the ICMP error about a client's packet that was put after the first `before` outputs, if
/// there is one. IPVS sees its own errors leave as answers, if the real server has the virtual
/// address.
inline void count_own_error(DirectorState& state, const ConnectionRecord& record,
                            const PacketContext& context, std::size_t before) noexcept {
  constexpr std::size_t kEthernetHeader = 14;
  const auto sent = context.outputs.frames();
  if (sent.size() <= before || record.method == model::ForwardingMethod::kMasquerade) return;
  count_out(state, record, sent.back().frame.size() - kEthernetHeader);
}

}  // namespace lb::engine
