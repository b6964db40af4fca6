// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/outcome.hpp"
#include "net/address.hpp"

/// The network configuration of this namespace, asked of the kernel (rtnetlink).
namespace lb::host {

/// How the XDP program of an interface runs.
enum class XdpKind : std::uint8_t { kNone, kNative, kGeneric, kOffloaded };

struct Link {
  int index = 0;
  std::string name;
  std::string kind = {};  ///< "veth", "bridge", "vlan", ...; empty: a device of a driver
  std::optional<net::Mac> mac = {};
  std::uint32_t mtu = 0;
  std::uint32_t receive_queues = 0;
  bool is_up = false;
  bool is_loopback = false;
  bool is_ethernet = false;
  XdpKind xdp = XdpKind::kNone;
  std::uint32_t xdp_program = 0;  ///< id; 0: none
};

struct LinkAddress {
  int link = 0;
  net::IpAddress address;
  unsigned length = 0;  ///< of the prefix
};

struct Route {
  net::IpAddress destination;
  unsigned length = 0;  ///< 0: the default route
  int link = 0;
  std::optional<net::IpAddress> gateway = {};
  std::optional<net::IpAddress> source = {};
  std::uint32_t mtu = 0;     ///< of the path; 0: the link's
  std::uint32_t advmss = 0;  ///< the segment size that peers are told; 0: by the MTU
  std::uint32_t table = 0;
  bool is_local = false;  ///< leads to this host itself
};

enum class NeighbourState : std::uint8_t { kUnknown, kReachable, kPending, kFailed };

struct Neighbour {
  int link = 0;
  net::IpAddress address;
  std::optional<net::Mac> mac = {};
  NeighbourState state = NeighbourState::kUnknown;
};

/// Asks and changes. Not for threads.
class Rtnetlink {
 public:
  [[nodiscard]] static Outcome<Rtnetlink> open();

  [[nodiscard]] Outcome<std::vector<Link>> links();
  [[nodiscard]] Outcome<std::vector<LinkAddress>> addresses();
  /// Unicast routes of all tables; with several next hops, one entry each.
  [[nodiscard]] Outcome<std::vector<Route>> routes();
  [[nodiscard]] Outcome<std::vector<Neighbour>> neighbours();
  /// The way that a packet to `address` would take; null: none.
  [[nodiscard]] Outcome<std::optional<Route>> route_to(const net::IpAddress& address);

  /// Adds `address` to a link as /32 or /128. An IPv6 address gets no duplicate detection and is
  /// never chosen as the source of this host's own connections. Returns 0 or the errno (EEXIST).
  [[nodiscard]] int add_host_address(int link, const net::IpAddress& address);
  /// Returns 0 or the errno (EADDRNOTAVAIL: it is not there).
  [[nodiscard]] int remove_host_address(int link, const net::IpAddress& address);

 private:
  using Visit = std::function<void(const nlmsghdr&)>;
  struct Close {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  explicit Rtnetlink(mnl_socket* socket) : socket_(socket), buffer_(std::size_t{64} << 10U) {}

  [[nodiscard]] Outcome<void> dump(std::uint16_t type, const Visit& visit,
                                   const std::function<void()>& restart);
  /// Returns 0 or an errno.
  [[nodiscard]] int exchange(nlmsghdr& request, const Visit& visit);
  [[nodiscard]] int change_address(std::uint16_t type, std::uint16_t flags, int link,
                                   const net::IpAddress& address);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::vector<char> buffer_;
  std::uint32_t sequence_ = 0;
};

/// The link of that index or name, or null.
[[nodiscard]] const Link* find_link(const std::vector<Link>& links, int index);
[[nodiscard]] const Link* find_link(const std::vector<Link>& links, const std::string& name);

}  // namespace lb::host
