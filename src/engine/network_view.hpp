// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.hpp"

namespace lb::engine {

/// A network device as the director numbers it: the kernel's ifindex in the daemon, any small
/// number in a test. 0 is none.
enum class InterfaceId : std::uint32_t { kNone = 0, kHost = 0xffffffff };

struct Interface {
  InterfaceId id = InterfaceId::kNone;
  std::string name;
  net::Mac mac;
  std::uint32_t mtu = 1500;  ///< largest IP packet, bytes
};

/// A unicast route. Without `via` the destination is on the link.
struct RouteEntry {
  net::IpAddress destination;
  std::uint8_t prefix_length = 0;
  std::optional<net::IpAddress> via;
  InterfaceId out = InterfaceId::kNone;
  std::uint32_t metric = 0;
  std::optional<net::IpAddress> source;  ///< preferred source address
  bool local = false;  ///< `ip route add local`: every address in it is the director's own
  friend bool operator==(const RouteEntry&, const RouteEntry&) = default;
};

/// Where a packet to some address goes next.
struct NextHop {
  InterfaceId out = InterfaceId::kNone;
  net::IpAddress address;  ///< gateway, or the destination itself on the link
  net::Mac source_mac;
  net::Mac destination_mac;  ///< valid if `resolved`
  bool resolved = false;     ///< the neighbour's MAC is known
  std::uint32_t mtu = 0;     ///< of the path, bytes of IP packet
};

/// What the engine knows of the outside: interfaces, own addresses, routes, neighbours, path
/// MTUs. A plain value: a test fills it by hand, the daemon from rtnetlink. Look-ups do not
/// allocate; `generation` changes with every change, so that answers may be cached.
class NetworkView {
 public:
  NetworkView();
  ~NetworkView();
  NetworkView(const NetworkView&) = delete;
  NetworkView& operator=(const NetworkView&) = delete;

  /// Adds an interface or replaces the one with the same id.
  void set_interface(const Interface& interface);
  /// Removes it with its addresses, routes and neighbours.
  void remove_interface(InterfaceId id);
  /// Adds an own address with its on-link prefix (`prefix_length` of the family's width: none).
  void add_address(InterfaceId id, const net::IpAddress& address, std::uint8_t prefix_length);
  void remove_address(InterfaceId id, const net::IpAddress& address);
  /// Adds a route or replaces the one with the same destination, prefix length and metric.
  void add_route(const RouteEntry& route);
  void remove_route(const RouteEntry& route);
  void set_neighbour(InterfaceId id, const net::IpAddress& address, const net::Mac& mac);
  void remove_neighbour(InterfaceId id, const net::IpAddress& address);
  /// Remembers that packets to `address` must not be larger than `mtu` (learnt from an ICMP
  /// error; at least 552 bytes, IPv6 1280, as in Linux). Does not allocate; of a bounded number
  /// of them, older ones are forgotten.
  void set_path_mtu(const net::IpAddress& address, std::uint32_t mtu) noexcept;
  /// Forgets all path MTUs: call it every ten minutes (RFC 1191, 6.3), as paths change.
  void forget_path_mtus() noexcept;

  [[nodiscard]] const Interface* interface(InterfaceId id) const noexcept;
  [[nodiscard]] const Interface* interface(std::string_view name) const noexcept;
  /// True if `address` is one of the director's own (or in 127.0.0.0/8, ::1, or routed locally).
  [[nodiscard]] bool is_local(const net::IpAddress& address) const noexcept;
  /// All addresses of all interfaces, some perhaps twice; not what is routed locally.
  [[nodiscard]] std::vector<net::IpAddress> own_addresses() const;
  /// True if `address` could be one host's: not unspecified, multicast, or (IPv4) the limited
  /// broadcast or the broadcast address of an own subnet.
  [[nodiscard]] bool is_unicast(const net::IpAddress& address) const noexcept;
  /// Next hop towards `address` by longest prefix; null: no route. Of a local address `out` is
  /// `kHost`.
  [[nodiscard]] std::optional<NextHop> route(const net::IpAddress& address) const noexcept;
  /// The address the host would send from to `address` (RFC 6724 in short: the route's
  /// preferred source, else an address of the outgoing interface on the same link, else its first).
  [[nodiscard]] std::optional<net::IpAddress> source_for(
      const net::IpAddress& address) const noexcept;
  /// The first own address of `family` on an interface with global scope; null: none.
  [[nodiscard]] std::optional<net::IpAddress> interface_address(InterfaceId id,
                                                                net::Family family) const noexcept;
  /// The hardware address of a neighbour; null: not known.
  [[nodiscard]] std::optional<net::Mac> neighbour(InterfaceId id,
                                                  const net::IpAddress& address) const noexcept;
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

 private:
  struct Tables;
  std::uint64_t generation_ = 1;
  Tables* tables_;
};

}  // namespace lb::engine
