// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "model/name.hpp"
#include "net/address.hpp"

namespace lb::model {

/// One line of the connection listing (`ipvsadm -Lnc`, /proc/net/ip_vs_conn).
struct ConnectionInfo {
  net::Protocol protocol = net::Protocol::kTcp;  ///< kIp: template of a firewall mark
  net::Endpoint client;
  net::Endpoint virtual_end;  ///< of a mark template the address is the mark, in network order
  net::Endpoint destination;
  Name state;                      ///< "ESTABLISHED", "UDP", "NONE", "ASSURED", ...
  std::uint32_t expires_in = 0;    ///< seconds, rounded down
  Name persistence_engine{};       ///< of a template that one made; else empty, as is the next
  std::string persistence_data{};  ///< what that engine knows it by: a Call-ID
  bool is_synced = false;          ///< learned from another director, not made here
  /// Of source NAT: the rule ("-": it is gone). Then `client` is the inside host, `virtual_end`
  /// what took its place, `destination` the host outside, whichever of them opened the connection.
  Name snat_rule{};
};

}  // namespace lb::model
