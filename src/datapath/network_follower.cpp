// SPDX-License-Identifier: Apache-2.0
#include "datapath/network_follower.hpp"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace lb::datapath {
namespace {

constexpr std::array<unsigned, 6> kGroups = {RTNLGRP_LINK,        RTNLGRP_NEIGH,
                                             RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                             RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE};

/// RFC 1191, 6.3, which IPv6 follows (RFC 8201, 5.4).
constexpr Duration kPathMtuLifetime = std::chrono::minutes(10);

std::uint8_t full_length(const net::IpAddress& address) noexcept {
  return static_cast<std::uint8_t>(address.size() * 8);
}

bool same_hop(const engine::RouteEntry& a, const engine::RouteEntry& b) noexcept {
  return a.out == b.out && a.via == b.via;
}

bool same_link(const LinkChange& a, const LinkChange& b) {
  return a.interface.name == b.interface.name && a.interface.mac == b.interface.mac &&
         a.interface.mtu == b.interface.mtu && a.is_up == b.is_up;
}

template <class Map>
void erase_interface(Map& map, engine::InterfaceId id) {
  std::erase_if(map, [id](const auto& item) { return item.first.first == id; });
}

/// Notes a change in `snapshot`. Routes that the kernel would choose between are kept in the order
/// in which they were told, a replacing one alone.
template <class Snapshot>
struct Noting {
  Snapshot& snapshot;

  void operator()(std::monostate) const {}
  void operator()(const LinkChange& change) const {
    const auto id = change.interface.id;
    if (!change.removed) {
      snapshot.links[id] = change;
      return;
    }
    snapshot.links.erase(id);
    erase_interface(snapshot.addresses, id);
    erase_interface(snapshot.local_routes, id);
    erase_interface(snapshot.neighbours, id);
    erase_interface(snapshot.fixed, id);
    for (auto& [key, routes] : snapshot.routes) {
      std::erase_if(routes, [id](const auto& route) { return route.out == id; });
    }
    std::erase_if(snapshot.routes, [](const auto& item) { return item.second.empty(); });
  }
  void operator()(const AddressChange& change) const {
    const std::pair key{change.interface, change.address};
    if (change.removed) {
      snapshot.addresses.erase(key);
    } else {
      snapshot.addresses[key] = change.prefix_length;
    }
  }
  void operator()(const RouteChange& change) const {
    const auto& route = change.route;
    if (change.is_local) {
      if (route.prefix_length != full_length(route.destination)) return;
      const std::pair key{route.out, route.destination};
      if (change.removed) {
        snapshot.local_routes.erase(key);
      } else {
        snapshot.local_routes[key] = route.prefix_length;
      }
      return;
    }
    const std::tuple key{route.destination, route.prefix_length, route.metric};
    auto& routes = snapshot.routes[key];
    if (change.replaces) routes.clear();
    std::erase_if(routes, [&](const auto& other) {
      return same_hop(other, route) || (change.removed && route.out == engine::InterfaceId::kNone);
    });
    if (!change.removed) routes.push_back(route);
    if (routes.empty()) snapshot.routes.erase(key);
  }
  void operator()(const NeighbourChange& change) const {
    const std::pair key{change.interface, change.address};
    if (change.mac) {
      snapshot.neighbours[key] = *change.mac;
      snapshot.fixed[key] = change.is_fixed;
    } else {
      snapshot.neighbours.erase(key);
      snapshot.fixed.erase(key);
    }
  }
};

}  // namespace

NetworkFollower::NetworkFollower(engine::NetworkView& view, Log log, NetlinkSocket events,
                                 NetlinkSocket dumps)
    : view_(view), log_(std::move(log)), events_(std::move(events)), dumps_(std::move(dumps)) {}

Outcome<std::unique_ptr<NetworkFollower>> NetworkFollower::create(engine::NetworkView& view,
                                                                  Log log) {
  // Listening begins before reading: what changes in between is told, and told twice is harmless.
  auto events = NetlinkSocket::open(kGroups);
  if (!events) return tl::unexpected(events.error());
  auto dumps = NetlinkSocket::open({});
  if (!dumps) return tl::unexpected(dumps.error());
  std::unique_ptr<NetworkFollower> follower(
      new NetworkFollower(view, std::move(log), std::move(*events), std::move(*dumps)));
  if (auto read = follower->resync(); !read) return tl::unexpected(read.error());
  return follower;
}

Outcome<NetworkFollower::Snapshot> NetworkFollower::read_all() {
  struct Question {
    std::uint16_t type;
    std::uint8_t family;
  };
  static constexpr std::array kQuestions = {
      Question{RTM_GETLINK, AF_UNSPEC}, Question{RTM_GETADDR, AF_UNSPEC},
      Question{RTM_GETROUTE, AF_INET},  Question{RTM_GETROUTE, AF_INET6},
      Question{RTM_GETNEIGH, AF_INET},  Question{RTM_GETNEIGH, AF_INET6},
  };
  Snapshot result;
  for (const auto& question : kQuestions) {
    const Snapshot before = result;
    const auto read = dumps_.dump(
        question.type, question.family,
        [&](const nlmsghdr& message) {
          std::visit(Noting<Snapshot>{result}, read_change(message));
        },
        [&] { result = before; });
    if (!read) return tl::unexpected(read.error());
  }
  return result;
}

Outcome<void> NetworkFollower::resync() {
  auto fresh = read_all();
  if (!fresh) return tl::unexpected(fresh.error());
  const Snapshot before = std::exchange(known_, std::move(*fresh));
  apply_difference(before);
  is_stale_ = false;
  return {};
}

void NetworkFollower::apply_difference(const Snapshot& before) {
  apply_links(before);
  apply_addresses(before);
  apply_routes(before);
  apply_neighbours(before);
}

void NetworkFollower::apply_links(const Snapshot& before) {
  for (const auto& [id, link] : before.links) {
    if (known_.links.contains(id)) continue;
    view_.remove_interface(id);
    LinkChange gone = link;
    gone.removed = true;
    if (listeners_.link) listeners_.link(gone);
  }
  for (const auto& [id, link] : known_.links) {
    const auto old = before.links.find(id);
    if (old != before.links.end() && same_link(old->second, link)) continue;
    view_.set_interface(link.interface);
    if (listeners_.link) listeners_.link(link);
  }
}

void NetworkFollower::apply_addresses(const Snapshot& before) {
  for (const auto& [key, length] : before.addresses) show_address(key);
  for (const auto& [key, length] : before.local_routes) show_address(key);
  for (const auto& [key, length] : known_.addresses) show_address(key);
  for (const auto& [key, length] : known_.local_routes) show_address(key);
}

void NetworkFollower::apply_routes(const Snapshot& before) {
  for (const auto& [key, routes] : before.routes) show_route(key, &routes.front());
  for (const auto& [key, routes] : known_.routes) {
    if (!before.routes.contains(key)) show_route(key, nullptr);
  }
}

void NetworkFollower::apply_neighbours(const Snapshot& before) {
  for (const auto& [key, mac] : before.neighbours) {
    if (known_.neighbours.contains(key)) continue;
    view_.remove_neighbour(key.first, key.second);
  }
  for (const auto& [key, mac] : known_.neighbours) {
    const auto old = before.neighbours.find(key);
    if (old != before.neighbours.end() && old->second == mac) continue;
    view_.set_neighbour(key.first, key.second, mac);
    if (listeners_.neighbour) {
      listeners_.neighbour(
          {.interface = key.first, .address = key.second, .mac = mac, .failed = false});
    }
  }
}

/// Makes the view say of an address what is known of it.
void NetworkFollower::show_address(const OnInterface& key) {
  if (const auto address = known_.addresses.find(key); address != known_.addresses.end()) {
    view_.add_address(key.first, key.second, address->second);
  } else if (const auto local = known_.local_routes.find(key); local != known_.local_routes.end()) {
    view_.add_address(key.first, key.second, local->second);
  } else {
    view_.remove_address(key.first, key.second);
  }
}

/// Makes the view say of a route what is known of it; `before` is what it says now.
void NetworkFollower::show_route(const RouteKey& key, const engine::RouteEntry* before) {
  const auto routes = known_.routes.find(key);
  if (routes == known_.routes.end()) {
    if (before != nullptr) view_.remove_route(*before);
  } else if (before == nullptr || !(*before == routes->second.front())) {
    view_.add_route(routes->second.front());
  }
}

/// Notes one notification and shows it in the view.
void NetworkFollower::apply(const Change& change) {
  std::optional<engine::RouteEntry> route_before;
  if (const auto* route = std::get_if<RouteChange>(&change); route != nullptr && !route->is_local) {
    const RouteKey key{route->route.destination, route->route.prefix_length, route->route.metric};
    if (const auto known = known_.routes.find(key); known != known_.routes.end()) {
      route_before = known->second.front();
    }
  }
  std::visit(Noting<Snapshot>{known_}, change);

  if (const auto* link = std::get_if<LinkChange>(&change)) {
    if (link->removed) {
      view_.remove_interface(link->interface.id);
    } else {
      view_.set_interface(link->interface);
    }
    is_stale_ = is_stale_ || link->removed || !link->is_up;
    if (listeners_.link) listeners_.link(*link);
  } else if (const auto* address = std::get_if<AddressChange>(&change)) {
    show_address({address->interface, address->address});
    is_stale_ = is_stale_ || address->removed;
  } else if (const auto* route = std::get_if<RouteChange>(&change)) {
    if (route->is_local) {
      show_address({route->route.out, route->route.destination});
    } else {
      show_route({route->route.destination, route->route.prefix_length, route->route.metric},
                 route_before ? &*route_before : nullptr);
    }
  } else if (const auto* neighbour = std::get_if<NeighbourChange>(&change)) {
    if (neighbour->mac) {
      view_.set_neighbour(neighbour->interface, neighbour->address, *neighbour->mac);
    } else {
      view_.remove_neighbour(neighbour->interface, neighbour->address);
    }
    if (listeners_.neighbour) listeners_.neighbour(*neighbour);
  }
}

void NetworkFollower::poll() {
  const auto received =
      events_.receive([this](const nlmsghdr& message) { apply(read_change(message)); });
  if (!received) {
    log_(LogLevel::kError, received.error());
    is_stale_ = true;
  } else if (*received == NetlinkSocket::Received::kLost) {
    log_(LogLevel::kInfo, "the kernel lost network notifications; reading everything again");
    is_stale_ = true;
  }
  if (!is_stale_) return;
  if (auto read = resync(); !read) log_(LogLevel::kError, read.error());
}

void NetworkFollower::advance(Timestamp now) {
  if (now < next_forget_) return;
  next_forget_ = now + kPathMtuLifetime;
  view_.forget_path_mtus();
}

const LinkChange* NetworkFollower::link(std::string_view name) const {
  for (const auto& [id, link] : known_.links) {
    if (link.interface.name == name) return &link;
  }
  return nullptr;
}

bool NetworkFollower::is_fixed(InterfaceId id, const net::IpAddress& neighbour) const {
  const auto found = known_.fixed.find({id, neighbour});
  return found != known_.fixed.end() && found->second;
}

std::vector<LinkChange> NetworkFollower::links() const {
  std::vector<LinkChange> result;
  for (const auto& [id, link] : known_.links) result.push_back(link);
  return result;
}

}  // namespace lb::datapath
