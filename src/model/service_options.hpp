// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "model/destination.hpp"
#include "model/service.hpp"

namespace lb::model {

/// What becomes of the connections that are left when a server's time to drain is over.
enum class DrainEnd : std::uint8_t {
  kKeep = 0,        ///< as IPVS has it: of a removed server they are dropped, else they go on
  kReschedule = 1,  ///< those without a state at the client (UDP) get another server
  kReset = 2,       ///< that, and TCP clients are told by a RST
};

/// What a service can have beyond IPVS. What is not set is as the settings have it (`drain`,
/// `drain_end`, `reuse_ports`), whose defaults are IPVS's behaviour.
struct ServiceOptions {
  /// No time at all: as IPVS.
  static constexpr std::int32_t kNoDrain = -1;
  static constexpr std::int32_t kMaxDrain = 31 * 86400;

  /// For so many seconds connections of a server that was removed, or got weight 0, go on.
  std::optional<std::int32_t> drain;
  std::optional<DrainEnd> drain_end;
  /// A SYN on a connection of a server that gets no new ones opens a new one at once.
  std::optional<bool> reuse_ports;
  /// 0: the director's.
  Timeouts timeouts;

  [[nodiscard]] bool is_default() const { return *this == ServiceOptions(); }
  friend bool operator==(const ServiceOptions&, const ServiceOptions&) = default;
};

/// Connections to be ended: those that match all that is given.
struct ConnectionSelection {
  std::optional<net::IpAddress> server;
  std::optional<net::Port> server_port;
  std::optional<net::IpAddress> client;
  std::optional<ServiceKey> service;
  /// False: every connection there is.
  [[nodiscard]] bool is_limited() const noexcept {
    return server || server_port || client || service;
  }
  friend bool operator==(const ConnectionSelection&, const ConnectionSelection&) = default;
};

}  // namespace lb::model
