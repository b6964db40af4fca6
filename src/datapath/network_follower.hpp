// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "datapath/datapath.hpp"
#include "datapath/netlink_socket.hpp"
#include "datapath/network_changes.hpp"
#include "engine/network_view.hpp"
#include "net/time.hpp"

namespace lb::datapath {

/// Keeps a NetworkView like the kernel's: reads everything once, then follows the kernel's
/// notifications. When the kernel lost some (ENOBUFS), or does not send them at all (IPv4 routes
/// that go with their link or address), everything is read again and the difference applied.
class NetworkFollower {
 public:
  struct Listeners {
    std::function<void(const LinkChange&)> link;
    std::function<void(const NeighbourChange&)> neighbour;
  };

  [[nodiscard]] static Outcome<std::unique_ptr<NetworkFollower>> create(engine::NetworkView& view,
                                                                        Log log);
  NetworkFollower(const NetworkFollower&) = delete;
  NetworkFollower& operator=(const NetworkFollower&) = delete;

  void set_listeners(Listeners listeners) { listeners_ = std::move(listeners); }
  [[nodiscard]] int fd() const noexcept { return events_.fd(); }
  /// Applies the notifications that wait.
  void poll();

  /// Forgets from time to time what was learnt by ICMP: paths change.
  void advance(Timestamp now);

  /// Whether the kernel keeps a neighbour without ever asking for it.
  [[nodiscard]] bool is_fixed(engine::InterfaceId id, const net::IpAddress& neighbour) const;
  [[nodiscard]] std::vector<LinkChange> links() const;
  /// The link of a name, or null; valid until the next poll().
  [[nodiscard]] const LinkChange* link(std::string_view name) const;

 private:
  using InterfaceId = engine::InterfaceId;
  using OnInterface = std::pair<InterfaceId, net::IpAddress>;
  /// Destination, prefix length, metric: what the view tells routes apart by.
  using RouteKey = std::tuple<net::IpAddress, std::uint8_t, std::uint32_t>;

  /// What the kernel has told.
  struct Snapshot {
    std::map<InterfaceId, LinkChange> links;
    std::map<OnInterface, std::uint8_t> addresses;     ///< prefix length
    std::map<OnInterface, std::uint8_t> local_routes;  ///< to single addresses; full length
    std::map<RouteKey, std::vector<engine::RouteEntry>> routes;  ///< the first counts
    std::map<OnInterface, net::Mac> neighbours;
    std::map<OnInterface, bool> fixed;  ///< whether a neighbour is
  };

  NetworkFollower(engine::NetworkView& view, Log log, NetlinkSocket events, NetlinkSocket dumps);
  [[nodiscard]] Outcome<void> resync();
  [[nodiscard]] Outcome<Snapshot> read_all();
  void apply(const Change& change);
  void apply_difference(const Snapshot& before);
  void apply_links(const Snapshot& before);
  void apply_addresses(const Snapshot& before);
  void apply_routes(const Snapshot& before);
  void apply_neighbours(const Snapshot& before);
  void show_address(const OnInterface& key);
  void show_route(const RouteKey& key, const engine::RouteEntry* before);

  engine::NetworkView& view_;
  Log log_;
  NetlinkSocket events_;
  NetlinkSocket dumps_;
  Listeners listeners_;
  Snapshot known_;
  Timestamp next_forget_{};
  bool is_stale_ = false;  ///< something may have changed untold
};

}  // namespace lb::datapath
