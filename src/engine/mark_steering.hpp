// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>

#include "engine/endpoint_table.hpp"
#include "engine/mark_rules.hpp"
#include "engine/network_view.hpp"
#include "engine/steered_ends.hpp"

namespace lb::engine {

/// The own addresses whose packets mark rules may mark: while there are mark services, all packets
/// to them must come to the engine, since only the engine knows the rules.
///
/// Each is a virtual endpoint of every protocol (kIp) and every port. Addresses that a rule
/// excludes by `!` are not left out, and what is no business of a service goes to the host from
/// the engine: too much costs time, too little would cost connections.
class MarkSteering {
 public:
  /// Steers the addresses of one more rule.
  void cover(const model::MarkRule& rule, const NetworkView& network, SteeredEnds& ends);
  /// Steers the addresses of all `rules`, and no others.
  void update(const MarkRules& rules, const NetworkView& network, SteeredEnds& ends);
  /// Steers nothing any more.
  void clear(SteeredEnds& ends) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return steered_.size(); }
  [[nodiscard]] bool is_steered(const net::IpAddress& address) const noexcept {
    return steered_.contains(address);
  }

 private:
  struct AddressHash {
    std::size_t operator()(const net::IpAddress& address) const noexcept;
  };
  struct Steered {
    EndpointId end = 0;  ///< 0: there was no room for it; tried again by the next update
    std::uint64_t round = 0;
  };
  void take(const net::IpAddress& address, SteeredEnds& ends);

  tsl::robin_map<net::IpAddress, Steered, AddressHash> steered_;
  std::uint64_t round_ = 0;
};

}  // namespace lb::engine
