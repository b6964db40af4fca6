// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "model/statistics.hpp"
#include "net/address.hpp"

namespace lb::model {

/// How packets get to a real server; the values are IP_VS_CONN_F_* of linux/ip_vs.h.
enum class ForwardingMethod : std::uint8_t {
  kMasquerade = 0,
  kLocalNode = 1,
  kTunnel = 2,
  kDirectRoute = 3,
  kBypass = 4,
};

enum class TunnelType : std::uint8_t { kIpip = 0, kGue = 1, kGre = 2 };

enum TunnelFlag : std::uint16_t {
  kTunnelNoChecksum = 0,
  kTunnelChecksum = 1,
  kTunnelRemoteChecksum = 2,
};

struct TunnelSpec {
  TunnelType type = TunnelType::kIpip;
  net::Port port;           ///< GUE's UDP port
  std::uint16_t flags = 0;  ///< TunnelFlag bits
  friend bool operator==(const TunnelSpec&, const TunnelSpec&) = default;
};

/// All that an administrator can set of a real server in a service.
struct DestinationSpec {
  net::IpAddress address;
  net::Port port;
  ForwardingMethod method = ForwardingMethod::kDirectRoute;
  std::int32_t weight = 1;
  std::uint32_t upper_threshold = 0;  ///< 0: no limit
  std::uint32_t lower_threshold = 0;
  TunnelSpec tunnel;
  friend bool operator==(const DestinationSpec&, const DestinationSpec&) = default;
};

/// A destination as listings show it.
struct DestinationInfo {
  DestinationSpec spec;
  std::uint32_t active_connections = 0;
  std::uint32_t inactive_connections = 0;
  std::uint32_t persistent_connections = 0;
  Statistics statistics;
};

/// The three timeouts of `ipvsadm --set`, in seconds. 0 in a request leaves one as it is.
struct Timeouts {
  std::uint32_t tcp = 0;
  std::uint32_t tcp_fin = 0;
  std::uint32_t udp = 0;
  friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

}  // namespace lb::model
