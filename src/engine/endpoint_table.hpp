// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "net/address.hpp"

namespace lb::engine {

/// Number of an interned endpoint; 0 is none.
using EndpointId = std::uint32_t;

/// Interned (protocol, address, port) triples, counted by reference.
///
/// Connections name their virtual and their real end by number: a record stays small, a look-up
/// that misses here needs no look into the connection table, and XDP can steer by the same
/// numbers. Fixed capacity, open addressing over a keyed hash (clients choose ports of port-0
/// services). Numbers are given out from 1; a freed number is used again last.
///
/// Example: the service 192.0.2.10:80/tcp and its 1000 connections share one virtual endpoint
/// with 1001 references.
class EndpointTable {
 public:
  struct Entry {
    net::IpAddress address;
    net::Port port;
    net::Protocol protocol = net::Protocol::kIp;
    std::uint32_t references = 0;
  };

  EndpointTable(std::uint32_t capacity, const std::array<std::uint64_t, 2>& hash_key);

  /// The number of the endpoint, or 0 if it is not in use.
  [[nodiscard]] EndpointId find(net::Protocol protocol, const net::IpAddress& address,
                                net::Port port) const noexcept;
  /// Adds a reference, interning the endpoint if it is new; 0 if the table is full.
  [[nodiscard]] EndpointId acquire(net::Protocol protocol, const net::IpAddress& address,
                                   net::Port port) noexcept;
  /// Adds a reference to an endpoint in use.
  void retain(EndpointId id) noexcept;
  /// Takes one reference; returns true if it was the last and the endpoint is gone.
  bool release(EndpointId id) noexcept;
  /// The endpoint of a number in use; stays readable after the last `release` until the next
  /// `acquire`.
  [[nodiscard]] const Entry& at(EndpointId id) const noexcept;
  [[nodiscard]] std::uint32_t size() const noexcept;
  [[nodiscard]] std::uint32_t capacity() const noexcept;

 private:
  [[nodiscard]] std::uint64_t hash(net::Protocol protocol, const net::IpAddress& address,
                                   net::Port port) const noexcept;

  std::array<std::uint64_t, 2> hash_key_;
  std::vector<Entry> entries_;     // by number; 0 unused
  std::vector<EndpointId> slots_;  // open addressing; 0 empty
  std::vector<EndpointId> free_;   // ring of free numbers
  std::uint32_t free_head_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace lb::engine
