// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/connection_table.hpp"
#include "engine/director.hpp"
#include "engine/packet_context.hpp"
#include "engine/settings.hpp"
#include "model/service_options.hpp"

/// The end of connections before their time, beyond what IPVS does: servers that drain, connections
/// that are ended by an administrator, and clients that are told of it.
///
/// A connection that ends is simply removed, by the function that removes all connections. Its TCP
/// client learns of it by a RST that answers the client's next packet: it takes its sequence number
/// from that packet's acknowledgement (RFC 9293, 3.10.7.1), which is the one that the client's
/// stack accepts (RFC 5961, 3.2). That needs no knowledge of the connection, so it works for direct
/// routing and tunnels too, whose answers never come by. A client that has nothing to send is made
/// to: the removal sends it a probe, an empty segment that cannot belong to the connection, and its
/// stack answers that with an acknowledgement (RFC 9293, 3.10.7.4).
namespace lb::engine {

struct Destination;
struct DirectorState;
struct Service;

/// Connections that are to be ended, a piece at a time.
struct EndingJob {
  model::ConnectionSelection selection{};
  std::uint32_t destination = 0;  ///< of this destination only, by id; 0: of any
  model::DrainEnd end = model::DrainEnd::kReset;
  std::uint32_t cursor = 1;  ///< the next record of the table to look at
};

/// What the director knows of servers that drain and of connections that end.
struct Removal {
  std::vector<EndingJob> jobs;
  std::vector<std::uint32_t> draining;  ///< destinations, by id
  std::uint32_t services_with_timeouts = 0;
  std::uint32_t services_with_reset = 0;
  std::uint64_t ended = 0;   ///< connections
  std::uint64_t probes = 0;  ///< sent
  std::uint64_t resets = 0;  ///< sent
};

// Of the director.

[[nodiscard]] Result<void> set_service_options(
    Director& director, const model::ServiceKey& key,
    const model::ServiceOptions& options);  // ESRCH EINVAL
/// Null: no such service.
[[nodiscard]] std::optional<model::ServiceOptions> service_options(const Director& director,
                                                                   const model::ServiceKey& key);
/// Ends the connections of `selection`: TCP clients are told. Done bit by bit by `end_due`.
[[nodiscard]] Result<void> end_connections(Director& director,
                                           const model::ConnectionSelection& selection);  // EBUSY
[[nodiscard]] const Removal& removal_of(const Director& director) noexcept;
/// Does a piece of what is due: ends connections whose time is over and adds the probes to their
/// clients to `outputs`. To be called after `Director::advance`. True: call again soon.
bool end_due(Director& director, Outputs& outputs) noexcept;

// Of the steps of a packet's way, and of the configuration.

/// A destination was removed, or has weight 0: it drains, if its service is to.
void begin_drain(DirectorState& state, const Service& service, Destination& destination);
/// A destination is back, or has a weight.
void end_drain(DirectorState& state, Destination& destination);
/// A service goes, but not yet its destinations.
void forget_options(DirectorState& state, const Service& service);
/// Whether packets go on to a destination that is not in its service.
[[nodiscard]] bool is_draining(const DirectorState& state, const Destination& destination) noexcept;
/// Whether a client that opens a connection anew gets a new one at once.
[[nodiscard]] bool is_reused_at_once(const DirectorState& state,
                                     const Destination* destination) noexcept;
/// Takes over the timeouts of the connection's service, after its state was moved.
void apply_service_timeouts(DirectorState& state, ConnectionId id) noexcept;
/// What becomes of a TCP packet that belongs to no connection, where that was ended: it is answered
/// with a RST. Nothing: it is the host's.
[[nodiscard]] std::optional<Verdict> reset_stray(DirectorState& state, PacketContext& context,
                                                 const Flow& flow) noexcept;

}  // namespace lb::engine
