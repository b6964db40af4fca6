// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "model/name.hpp"
#include "model/statistics.hpp"
#include "net/address.hpp"

namespace lb::model {

/// What makes a virtual service itself: (protocol, address, port), or a firewall mark.
/// For a mark service `protocol` is kTcp (as the kernel stores it), address and port are zero.
struct ServiceKey {
  net::Family family = net::Family::kIpv4;
  std::uint32_t fwmark = 0;  ///< 0: by address
  net::Protocol protocol = net::Protocol::kTcp;
  net::IpAddress address;
  net::Port port;  ///< 0: all ports (needs persistence to schedule)

  friend constexpr bool operator==(const ServiceKey&, const ServiceKey&) = default;
  friend constexpr auto operator<=>(const ServiceKey&, const ServiceKey&) = default;
};

/// Flags of a service (IP_VS_SVC_F_* of linux/ip_vs.h).
enum ServiceFlag : std::uint32_t {
  kServicePersistent = 0x01,
  kServiceHashed = 0x02,  ///< set by the director, seen on reading
  kServiceOnePacket = 0x04,
  kServiceSched1 = 0x08,  ///< sh-fallback, mh-fallback
  kServiceSched2 = 0x10,  ///< sh-port, mh-port
  kServiceSched3 = 0x20,
};

/// All that an administrator can set of a virtual service.
struct ServiceSpec {
  ServiceKey key;
  Name scheduler = "wlc";  ///< "none": no scheduler
  Name persistence_engine;
  std::uint32_t flags = 0;         ///< ServiceFlag bits
  std::uint32_t flags_mask = ~0U;  ///< which of `flags` a request sets; the rest stay as they are
  std::uint32_t timeout = 0;       ///< of persistence templates, seconds
  /// Clients are grouped by so many leading bits of their address. Kept as the protocol has it:
  /// IPv4 a mask in network order, IPv6 a prefix length (1..128) in host order.
  std::uint32_t netmask = 0xffffffff;

  friend bool operator==(const ServiceSpec&, const ServiceSpec&) = default;
};

/// A service as listings show it.
struct ServiceInfo {
  ServiceSpec spec;
  Statistics statistics;
};

}  // namespace lb::model
