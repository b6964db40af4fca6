// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "engine/network_view.hpp"
#include "net/address.hpp"

namespace lb::datapath {

/// A link as the kernel describes it.
struct LinkChange {
  bool removed = false;
  engine::Interface interface;
  bool is_up = false;
  bool is_ethernet = false;
  bool is_loopback = false;
  std::uint32_t receive_queues = 1;
  std::uint32_t master = 0;  ///< of a bridge or bond; 0: none
  std::uint32_t below = 0;   ///< the link that a VLAN or MACVLAN lies on; 0: none
  std::string kind;          ///< "veth", "vlan", ...; empty for hardware
};

struct AddressChange {
  bool removed = false;
  engine::InterfaceId interface = engine::InterfaceId::kNone;
  net::IpAddress address;
  std::uint8_t prefix_length = 0;
};

struct RouteChange {
  bool removed = false;
  bool is_local = false;  ///< of the local table: the destination is one of our own addresses
  bool replaces = false;  ///< the one with the same destination, prefix length and metric
  engine::RouteEntry route;
};

struct NeighbourChange {
  engine::InterfaceId interface = engine::InterfaceId::kNone;
  net::IpAddress address;
  std::optional<net::Mac> mac;  ///< null: not (or no longer) known
  bool failed = false;          ///< the kernel asked and got no answer
  bool is_fixed = false;        ///< an administrator's entry, or one that needs no asking
};

using Change =
    std::variant<std::monostate, LinkChange, AddressChange, RouteChange, NeighbourChange>;

/// Reads a routing netlink message. monostate: nothing that matters here (other tables and
/// kinds), or malformed.
[[nodiscard]] Change read_change(const nlmsghdr& message);

}  // namespace lb::datapath
