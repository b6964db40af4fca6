// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/director_state.hpp"
#include "engine/packet_context.hpp"

namespace lb::engine {

/// How scheduling failed or did not (the three ways of ip_vs_schedule).
enum class ScheduleFailure : std::uint8_t {
  kNone,
  kNotForUs,       ///< not a packet that a service wants: the host's
  kNoDestination,  ///< refused with an ICMP error
  kTableFull,      ///< dropped
  kNoKeyData,      ///< dropped: the persistence engine finds nothing to go by
};

struct ScheduleResult {
  ConnectionId connection = 0;
  ScheduleFailure failure = ScheduleFailure::kNone;
};

/// Opens a connection of a persistent service: by the client's template if it has one whose
/// destination is still good, else by a new template for a destination that the scheduler
/// chooses. The connection is held by the template. With a persistence engine the packet must
/// have key data (`context`, of a packet or of an ICMP error, which has none), and the client's
/// template with the same data counts.
[[nodiscard]] ScheduleResult schedule_persistent(DirectorState& state, Service& service,
                                                 const PacketContext& context,
                                                 const Flow& flow) noexcept;

/// Opens a connection for a packet that a masqueraded destination of a service with a persistence
/// engine sends to a client by itself, so that it seems to come from the service and its answers
/// come back to that destination; 0 if the packet is not one. `flow` is the one that it answers.
[[nodiscard]] ConnectionId open_from_server(DirectorState& state, const PacketContext& context,
                                            const Flow& flow) noexcept;

/// Asks the service's scheduler; null if it has none or finds no usable destination.
[[nodiscard]] Destination* choose_destination(DirectorState& state, Service& service,
                                              const PacketContext& context,
                                              const Flow& flow) noexcept;

/// Puts a connection of a persistent service under the hold of its client's template, which is made
/// if there is none; one for another destination stays as it is.
void hold_by_template(DirectorState& state, Service& service, const Flow& flow,
                      ConnectionId id) noexcept;

/// Opens a connection of `flow` to `real_end` of the destination and counts it; 0: the table is
/// full. `held_by`: the template that holds it, or 0.
[[nodiscard]] ConnectionId open_to(DirectorState& state, Service& service, const Flow& flow,
                                   Destination& destination, const net::Endpoint& real_end,
                                   ConnectionId held_by) noexcept;

/// Counts a new connection at its destination, its service and in total.
void count_connection(DirectorState& state, Service& service, Destination& destination) noexcept;

}  // namespace lb::engine
