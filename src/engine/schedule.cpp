// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule.hpp"

#include "engine/director_marks.hpp"
#include "engine/forward/icmp_error.hpp"
#include "engine/persistence.hpp"
#include "engine/removal.hpp"
#include "engine/stand_in_flows.hpp"
#include "engine/transmit.hpp"

namespace lb::engine {
namespace {

// Whether the packet, by itself, may open a connection.
enum class Opening : std::uint8_t { kYes, kNo, kCutOff };

Opening may_open(const Settings& settings, const PacketContext& context) {
  const auto& headers = context.headers;
  switch (headers.protocol) {
    case net::Protocol::kTcp: {
      if (!headers.has_transport_header) return Opening::kCutOff;
      if ((headers.tcp_flags & net::kTcpRst) != 0) return Opening::kNo;
      const bool is_first = (headers.tcp_flags & net::kTcpSyn) != 0;
      return is_first || settings.sloppy_tcp != 0 ? Opening::kYes : Opening::kNo;
    }
    case net::Protocol::kUdp:
      return headers.has_transport_header ? Opening::kYes : Opening::kCutOff;
    case net::Protocol::kSctp: {
      const auto type = sctp_first_chunk(context.transport());
      if (!headers.has_transport_header || !type) return Opening::kCutOff;
      if (*type == kSctpAbort) return Opening::kNo;
      return *type == kSctpInit || settings.sloppy_sctp != 0 ? Opening::kYes : Opening::kNo;
    }
    default:
      return Opening::kNo;  // ESP and AH only follow
  }
}

ScheduleResult open_connection(DirectorState& state, Service& service, const PacketContext& context,
                               const Flow& flow) {
  // Data connections of active FTP are opened by the server; a client never does.
  if (flow.client.port.to_host() == kFtpDataPort) return {.failure = ScheduleFailure::kNotForUs};
  // The answer of a local real server to a client of the director.
  if (context.is_from_host() &&
      state.connections.find(flow.protocol, flow.virtual_end, flow.client) != 0) {
    return {.failure = ScheduleFailure::kNotForUs};
  }
  if (service.is_persistent()) return schedule_persistent(state, service, context, flow);
  if (service.key().fwmark == 0 && flow.virtual_end.port != service.key().port) {
    return {.failure = ScheduleFailure::kNoDestination};
  }
  auto* destination = choose_destination(state, service, context, flow);
  if (destination == nullptr) return {.failure = ScheduleFailure::kNoDestination};
  const auto port =
      destination->spec.port != net::Port{} ? destination->spec.port : flow.virtual_end.port;
  const auto id = open_to(state, service, flow, *destination, {destination->spec.address, port}, 0);
  if (id == 0) return {.failure = ScheduleFailure::kTableFull};
  return {.connection = id};
}

// A mark service without a usable destination may let packets go where they were addressed to.
Scheduled bypass(DirectorState& state, const Service& service, const Flow& flow) {
  const auto id = state.connections.open(
      {.protocol = flow.protocol,
       .client = flow.client,
       .virtual_end = flow.virtual_end,
       .real_end = {net::IpAddress::any(flow.client.address.family()), net::Port{}},
       .flags = service.is_one_packet(flow.protocol) ? kConnectionOnePacket : 0U},
      state.now);
  if (id == 0) return {.verdict = Verdict::drop(DropReason::kTableFull)};
  return {.connection = id};
}

// No destination for a packet that a service wanted.
Scheduled leave(DirectorState& state, const Service& service, PacketContext& context,
                const Flow& flow, bool is_icmp) {
  if (state.settings.cache_bypass != 0 && service.key().fwmark != 0 && !is_icmp &&
      state.network.is_unicast(flow.virtual_end.address) &&
      !state.network.is_local(flow.virtual_end.address)) {
    return bypass(state, service, flow);
  }
  const auto port = flow.virtual_end.port.to_host();
  if (service.key().port.to_host() == kFtpPort && port != kFtpPort) {
    return {.verdict = Verdict::host()};
  }
  if (is_icmp) return {.verdict = Verdict::drop(DropReason::kNoDestination)};
  report_error(state, context, IcmpError::port_unreachable(context.headers.family()));
  const bool is_port_zero =
      service.key().fwmark == 0 && service.key().port == net::Port{} && !service.is_persistent();
  return {.verdict =
              Verdict::drop(is_port_zero ? DropReason::kNoScheduling : DropReason::kNoDestination)};
}

}  // namespace

bool begins_connection(const PacketContext& context) noexcept {
  const auto& headers = context.headers;
  if (headers.protocol == net::Protocol::kTcp) {
    return headers.has_transport_header && (headers.tcp_flags & net::kTcpSyn) != 0;
  }
  return headers.protocol == net::Protocol::kSctp &&
         sctp_first_chunk(context.transport()) == kSctpInit;
}

bool is_to_be_replaced(DirectorState& state, ConnectionId id) noexcept {
  const auto& record = state.connections.at(id);
  const auto* destination = state.connections.destination(record);
  if (state.settings.expire_nodest_conn != 0 && destination != nullptr &&
      destination->weight() == 0) {
    return true;
  }
  if (is_reused_at_once(state, destination)) return true;
  const auto mode = state.settings.conn_reuse_mode;
  if (mode == 0 || record.control != 0) return false;
  if (record.protocol == net::Protocol::kSctp) {
    return static_cast<SctpState>(record.state) == SctpState::kClosed;
  }
  const auto tcp = static_cast<TcpState>(record.state);
  constexpr std::int32_t kAlsoFinWait = 2;
  const bool is_half_closed = (mode & kAlsoFinWait) != 0 && tcp == TcpState::kFinWait &&
                              (record.flags & kConnectionOneWay) != 0;
  return tcp == TcpState::kTimeWait || tcp == TcpState::kClose || is_half_closed;
}

Scheduled schedule(DirectorState& state, PacketContext& context, const Flow& flow,
                   bool is_icmp) noexcept {
  if (!is_icmp) {
    const auto opening = may_open(state.settings, context);
    const bool is_reset = (context.headers.tcp_flags & net::kTcpRst) != 0;
    if (opening != Opening::kCutOff && !is_reset) {
      if (const auto id = continue_flow(state, flow, begins_connection(context))) {
        return {.connection = id};
      }
    }
    switch (opening) {
      case Opening::kYes:
        break;
      case Opening::kNo:
        return {.verdict = reset_stray(state, context, flow).value_or(Verdict::host())};
      case Opening::kCutOff:
        return {.verdict = Verdict::drop(DropReason::kTruncated)};
    }
  }
  auto* service = state.services.find_for_packet(mark(state, context), flow.protocol,
                                                 flow.virtual_end.address, flow.virtual_end.port);
  if (service == nullptr) return {.verdict = Verdict::host()};
  if (state.defence.drops_packet()) return {.verdict = Verdict::drop(DropReason::kDropPacket)};

  const auto result = open_connection(state, *service, context, flow);
  switch (result.failure) {
    case ScheduleFailure::kNone:
      return {.connection = result.connection};
    case ScheduleFailure::kNotForUs:
      return {.verdict = Verdict::host()};
    case ScheduleFailure::kNoDestination:
      return leave(state, *service, context, flow, is_icmp);
    case ScheduleFailure::kNoKeyData:
      return {.verdict = Verdict::drop(DropReason::kNoKeyData)};
    case ScheduleFailure::kTableFull:
      break;
  }
  return {.verdict = Verdict::drop(DropReason::kTableFull)};
}

}  // namespace lb::engine
