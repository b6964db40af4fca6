// SPDX-License-Identifier: Apache-2.0
#include "engine/tracking.hpp"

#include "engine/removal.hpp"

#include "net/bytes.hpp"

namespace lb::engine {

void track(DirectorState& state, const PacketContext& context, ConnectionId id,
           bool is_reply) noexcept {
  constexpr std::size_t kIpv6Header = 40;
  constexpr std::size_t kTcpHeader = 20;
  constexpr std::size_t kTcpFlagsOffset = 13;
  const auto is_secure_tcp = state.defence.is_secure_tcp();
  const auto fixed = std::size_t{context.headers.ip_offset} + kIpv6Header;
  if (state.settings.quirk_ipv6_extension_state == 0 ||
      context.headers.family() != net::Family::kIpv6 ||
      std::size_t{context.headers.transport_offset} == fixed) {
    state.connections.track(id, context.headers, context.transport(), is_reply, is_secure_tcp);
    return;
  }
  auto headers = context.headers;
  const auto transport =
      std::span<const std::byte>(context.packet.bytes()).subspan(fixed, headers.end - fixed);
  headers.has_transport_header = transport.size() >= kTcpHeader;
  if (headers.has_transport_header) {
    headers.tcp_flags = net::load<std::uint8_t>(transport, kTcpFlagsOffset);
  }
  state.connections.track(id, headers, transport, is_reply, is_secure_tcp);
}

void settle(DirectorState& state, const PacketContext& context, ConnectionId id,
            const Verdict& verdict, bool is_reply) noexcept {
  auto& connections = state.connections;
  const auto& record = connections.at(id);
  if ((record.flags & kConnectionOnePacket) == 0) {
    if (state.removal.services_with_timeouts != 0) apply_service_timeouts(state, id);
    connections.touch(id, state.now);
    // What the host itself sends does not come by XDP.
    const bool is_forwarded =
        verdict.kind == Verdict::Kind::kSend || verdict.kind == Verdict::Kind::kHost;
    if (state.fast_path && is_forwarded && !context.is_from_host()) {
      state.fast_path->offer(id, is_reply, state.now);
    }
    return;
  }
  // A master daemon has counted it.
  if (record.control != 0 && !state.sync.master) ++connections.at(record.control).packets_in;
  connections.end_one_packet(id, state.now);
}

}  // namespace lb::engine
