// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engine/destination.hpp"
#include "engine/settings.hpp"
#include "net/address.hpp"
#include "net/result.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// What a scheduler may look at of the packet that opens a connection.
struct SchedulingInput {
  net::Protocol protocol = net::Protocol::kTcp;
  net::IpAddress client;
  net::Port client_port;
  net::IpAddress virtual_address;
  net::Port virtual_port;
};

/// What a scheduler may look at of its service. The list is newest first: the order in which
/// kernel IPVS walks it, visible in ties and in the tables of dh, sh and mh.
struct SchedulingContext {
  std::span<Destination* const> destinations;
  std::uint32_t flags = 0;  ///< model::ServiceFlag bits
  const Settings* settings = nullptr;
  Timestamp now{};
};

/// Chooses the destination of a new connection. One object a service; its state (cursor, table,
/// cache) is bound to that service's destinations.
///
/// Contract: `destination_*` are called after the list in `context` shows the change; a removed
/// destination is no longer in it but still a valid object during the call, and may be freed after
/// it. All calls are noexcept; only `bind` and the change calls may allocate.
class Scheduler {
 public:
  virtual ~Scheduler() = default;

  /// Takes up a service with the destinations that it has. EINVAL: impossible for this service.
  [[nodiscard]] virtual Result<void> bind(const SchedulingContext& context) = 0;
  /// The destination for a new connection, or null if none is usable. Does not allocate.
  [[nodiscard]] virtual Destination* schedule(const SchedulingContext& context,
                                              const SchedulingInput& input) noexcept = 0;
  virtual void destination_added(const SchedulingContext& context, Destination& destination);
  virtual void destination_removed(const SchedulingContext& context, Destination& destination);
  /// An administrator edited the destination, even if nothing changed. Not called when the
  /// service was edited.
  virtual void destination_updated(const SchedulingContext& context, Destination& destination);
  /// Once a minute, off the packet path: throw away what has not been used for long.
  virtual void sweep(const SchedulingContext& context) noexcept;
};

/// Makes the scheduler of that name (rr wrr lc wlc sed nq fo ovf dh sh mh lblc lblcr twos), or
/// null if there is none. `seed` feeds schedulers that draw lots.
[[nodiscard]] std::unique_ptr<Scheduler> make_scheduler(std::string_view name, std::uint64_t seed);

}  // namespace lb::engine
