// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "net/time.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {

/// What the daemon knows of itself beyond its director, for GET_STATUS of the SLUICE family.
class StatusSource {
 public:
  virtual ~StatusSource() = default;
  [[nodiscard]] virtual std::string version() const = 0;
  /// Time since the daemon started.
  [[nodiscard]] virtual Duration uptime() const = 0;
  /// "ok", or "degraded: " and why.
  [[nodiscard]] virtual std::string health() const = 0;
  [[nodiscard]] virtual std::vector<wire::InterfaceStatus> interfaces() const = 0;
  /// Counters of the data path as a whole, shown after the director's own. A label that the
  /// director uses (sent, to_host, icmp_errors_sent, connections_created, connections_expired)
  /// must not appear again.
  [[nodiscard]] virtual std::vector<wire::NamedCounter> counters() const = 0;
};

}  // namespace lb::control
