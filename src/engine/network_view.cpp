// SPDX-License-Identifier: Apache-2.0
#include "engine/network_view.hpp"

#include <tsl/robin_map.h>

#include <algorithm>
#include <array>
#include <functional>

namespace lb::engine {
namespace {

using net::Family;
using net::IpAddress;

std::uint64_t mix(std::uint64_t value) noexcept {
  // The finalizer of SplitMix64: every bit of the input reaches every bit of the result.
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

std::uint64_t hash_of(const IpAddress& address, std::uint64_t extra) noexcept {
  const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes());
  return mix(mix(halves[0] + extra) + halves[1]);
}

/// An address with a number: an interface, a prefix length, or nothing.
struct Key {
  IpAddress address;
  std::uint32_t number = 0;
  friend bool operator==(const Key&, const Key&) = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept {
    return hash_of(key.address, (std::uint64_t{key.number} << 8U) |
                                    static_cast<std::uint64_t>(key.address.family()));
  }
};

struct IdHash {
  std::size_t operator()(InterfaceId id) const noexcept {
    return mix(static_cast<std::uint64_t>(id));
  }
};

struct OwnAddress {
  InterfaceId interface = InterfaceId::kNone;
  IpAddress address;
  std::uint8_t prefix_length = 0;
};

/// A route, or the on-link prefix that an own address brings along.
struct Candidate {
  RouteEntry route;
  bool is_derived = false;
};

unsigned width(Family family) noexcept { return family == Family::kIpv4 ? 32 : 128; }
std::size_t index_of(Family family) noexcept { return family == Family::kIpv4 ? 0 : 1; }

unsigned common_prefix(const IpAddress& a, const IpAddress& b) noexcept {
  for (unsigned i = 0; i < a.size(); ++i) {
    const auto difference = static_cast<unsigned>(a.bytes()[i] ^ b.bytes()[i]);
    if (difference != 0) return i * 8 + static_cast<unsigned>(__builtin_clz(difference)) - 24;
  }
  return width(a.family());
}

}  // namespace

struct NetworkView::Tables {
  static constexpr std::size_t kCacheSize = 1024;
  static constexpr std::size_t kPathMtuSlots = 4096;
  static constexpr std::uint32_t kLocalMtu = 65535;

  struct Cached {
    std::uint64_t generation = 0;  // 0: empty
    IpAddress address;
    NextHop hop;
  };
  struct PathMtu {
    IpAddress address;
    std::uint32_t mtu = 0;  // 0: empty
  };

  tsl::robin_map<InterfaceId, Interface, IdHash> interfaces;
  std::vector<OwnAddress> addresses;                // in the order they were added
  tsl::robin_map<Key, std::uint32_t, KeyHash> own;  // how often, by address
  tsl::robin_map<Key, net::Mac, KeyHash> neighbours;
  // Candidates of each (prefix, length), best first.
  tsl::robin_map<Key, std::vector<Candidate>, KeyHash> prefixes;
  std::array<std::array<std::uint32_t, 129>, 2> length_uses{};
  std::array<std::vector<std::uint8_t>, 2> lengths;  // in use, longest first
  std::size_t local_routes = 0;
  std::vector<PathMtu> path_mtus = std::vector<PathMtu>(kPathMtuSlots);
  std::vector<Cached> cache = std::vector<Cached>(kCacheSize);

  void insert(const Candidate& candidate);
  template <class Predicate>
  bool erase(const IpAddress& destination, std::uint8_t length, Predicate matches);
  template <class Predicate>
  void erase_everywhere(Predicate matches);
  [[nodiscard]] const Candidate* find(const IpAddress& address) const noexcept;
  [[nodiscard]] bool is_usable(const Candidate& candidate) const noexcept {
    return candidate.route.local || interfaces.contains(candidate.route.out);
  }
  [[nodiscard]] PathMtu& path_mtu_slot(const IpAddress& address) noexcept {
    return path_mtus[hash_of(address, 1) % kPathMtuSlots];
  }
  [[nodiscard]] std::optional<NextHop> look_up(const IpAddress& address) noexcept;
  [[nodiscard]] bool is_own(const IpAddress& address) const noexcept {
    return own.contains(Key{address, 0});
  }
  void count_length(Family family, std::uint8_t length, bool is_more);
};

void NetworkView::Tables::count_length(Family family, std::uint8_t length, bool is_more) {
  const std::size_t f = index_of(family);
  auto& uses = length_uses[f][length];
  uses = is_more ? uses + 1 : uses - 1;
  if (uses == (is_more ? 1U : 0U)) {
    auto& list = lengths[f];
    list.erase(std::remove(list.begin(), list.end(), length), list.end());
    if (is_more) {
      list.push_back(length);
      std::sort(list.begin(), list.end(), std::greater<>());
    }
  }
}

void NetworkView::Tables::insert(const Candidate& candidate) {
  const RouteEntry& route = candidate.route;
  auto& list = prefixes[Key{route.destination, route.prefix_length}];
  if (list.empty()) count_length(route.destination.family(), route.prefix_length, true);
  // Lower metric first; a route that was given before one that was derived; else in order.
  const auto rank = [](const Candidate& c) {
    return std::uint64_t{c.route.metric} * 2 + (c.is_derived ? 1 : 0);
  };
  const auto place = std::find_if(list.begin(), list.end(), [&](const Candidate& other) {
    return rank(other) > rank(candidate);
  });
  list.insert(place, candidate);
  if (route.local) ++local_routes;
}

template <class Predicate>
bool NetworkView::Tables::erase(const IpAddress& destination, std::uint8_t length,
                                Predicate matches) {
  const auto found = prefixes.find(Key{destination, length});
  if (found == prefixes.end()) return false;
  auto& list = found.value();
  const auto place = std::find_if(list.begin(), list.end(), matches);
  if (place == list.end()) return false;
  if (place->route.local) --local_routes;
  list.erase(place);
  if (list.empty()) {
    prefixes.erase(found);
    count_length(destination.family(), length, false);
  }
  return true;
}

template <class Predicate>
void NetworkView::Tables::erase_everywhere(Predicate matches) {
  std::vector<Key> keys;
  for (const auto& [key, list] : prefixes) {
    if (std::any_of(list.begin(), list.end(), matches)) keys.push_back(key);
  }
  for (const Key& key : keys) {
    while (erase(key.address, static_cast<std::uint8_t>(key.number), matches)) {
    }
  }
}

const Candidate* NetworkView::Tables::find(const IpAddress& address) const noexcept {
  for (const std::uint8_t length : lengths[index_of(address.family())]) {
    const auto found = prefixes.find(Key{address.prefix(length), length});
    if (found == prefixes.end()) continue;
    for (const Candidate& candidate : found->second) {
      if (is_usable(candidate)) return &candidate;
    }
  }
  return nullptr;
}

std::optional<NextHop> NetworkView::Tables::look_up(const IpAddress& address) noexcept {
  NextHop hop;
  hop.address = address;
  const Candidate* candidate = is_own(address) || address.is_loopback() ? nullptr : find(address);
  if (candidate == nullptr || candidate->route.local) {
    if (candidate == nullptr && !is_own(address) && !address.is_loopback()) return std::nullopt;
    hop.out = InterfaceId::kHost;
    hop.resolved = true;
    hop.mtu = kLocalMtu;
    return hop;
  }

  const Interface& interface = interfaces.find(candidate->route.out)->second;
  hop.out = interface.id;
  hop.source_mac = interface.mac;
  hop.mtu = interface.mtu;
  if (candidate->route.via) hop.address = *candidate->route.via;
  const auto neighbour =
      neighbours.find(Key{hop.address, static_cast<std::uint32_t>(interface.id)});
  if (neighbour != neighbours.end()) {
    hop.destination_mac = neighbour->second;
    hop.resolved = true;
  }
  const PathMtu& learnt = path_mtu_slot(address);
  if (learnt.mtu != 0 && learnt.address == address) hop.mtu = std::min(hop.mtu, learnt.mtu);
  return hop;
}

NetworkView::NetworkView() : tables_(new Tables) {}
NetworkView::~NetworkView() { delete tables_; }

void NetworkView::set_interface(const Interface& interface) {
  tables_->interfaces.insert_or_assign(interface.id, interface);
  ++generation_;
}

void NetworkView::remove_interface(InterfaceId id) {
  auto& addresses = tables_->addresses;
  for (std::size_t i = addresses.size(); i-- > 0;) {
    if (addresses[i].interface == id) remove_address(id, IpAddress(addresses[i].address));
  }
  tables_->erase_everywhere([id](const Candidate& candidate) { return candidate.route.out == id; });
  for (auto it = tables_->neighbours.begin(); it != tables_->neighbours.end();) {
    it = it->first.number == static_cast<std::uint32_t>(id) ? tables_->neighbours.erase(it)
                                                            : std::next(it);
  }
  tables_->interfaces.erase(id);
  ++generation_;
}

void NetworkView::add_address(InterfaceId id, const IpAddress& address,
                              std::uint8_t prefix_length) {
  remove_address(id, address);
  const auto length =
      static_cast<std::uint8_t>(std::min<unsigned>(prefix_length, width(address.family())));
  tables_->addresses.push_back({id, address, length});
  ++tables_->own[Key{address, 0}];
  if (length < width(address.family())) {
    constexpr std::uint32_t kIpv6LinkMetric = 256;  // what Linux gives an IPv6 on-link prefix
    Candidate candidate;
    candidate.route.destination = address.prefix(length);
    candidate.route.prefix_length = length;
    candidate.route.out = id;
    candidate.route.metric = address.is_v4() ? 0 : kIpv6LinkMetric;
    candidate.route.source = address.is_v4() ? std::optional(address) : std::nullopt;
    candidate.is_derived = true;
    tables_->insert(candidate);
  }
  ++generation_;
}

void NetworkView::remove_address(InterfaceId id, const IpAddress& address) {
  auto& addresses = tables_->addresses;
  const auto place = std::find_if(addresses.begin(), addresses.end(), [&](const OwnAddress& own) {
    return own.interface == id && own.address == address;
  });
  if (place == addresses.end()) return;
  const OwnAddress removed = *place;
  addresses.erase(place);

  const auto count = tables_->own.find(Key{address, 0});
  if (count != tables_->own.end() && --count.value() == 0) tables_->own.erase(count);
  tables_->erase(address.prefix(removed.prefix_length), removed.prefix_length,
                 [&](const Candidate& candidate) {
                   return candidate.is_derived && candidate.route.out == id &&
                          (!address.is_v4() || candidate.route.source == address);
                 });
  ++generation_;
}

void NetworkView::add_route(const RouteEntry& route) {
  Candidate candidate{route, false};
  RouteEntry& entry = candidate.route;
  entry.prefix_length = static_cast<std::uint8_t>(
      std::min<unsigned>(entry.prefix_length, width(entry.destination.family())));
  entry.destination = entry.destination.prefix(entry.prefix_length);
  tables_->erase(entry.destination, entry.prefix_length, [&](const Candidate& other) {
    return !other.is_derived && other.route.metric == entry.metric;
  });
  tables_->insert(candidate);
  ++generation_;
}

void NetworkView::remove_route(const RouteEntry& route) {
  const auto matches = [&](const Candidate& other) {
    return !other.is_derived && other.route.metric == route.metric &&
           (route.out == InterfaceId::kNone || other.route.out == route.out);
  };
  if (tables_->erase(route.destination.prefix(route.prefix_length), route.prefix_length, matches)) {
    ++generation_;
  }
}

void NetworkView::set_neighbour(InterfaceId id, const IpAddress& address, const net::Mac& mac) {
  const auto [place, is_new] =
      tables_->neighbours.try_emplace(Key{address, static_cast<std::uint32_t>(id)}, mac);
  if (!is_new) {
    if (place->second == mac) return;  // a mere refresh must not empty the caches
    place.value() = mac;
  }
  ++generation_;
}

void NetworkView::remove_neighbour(InterfaceId id, const IpAddress& address) {
  if (tables_->neighbours.erase(Key{address, static_cast<std::uint32_t>(id)}) != 0) ++generation_;
}

void NetworkView::set_path_mtu(const IpAddress& address, std::uint32_t mtu) noexcept {
  constexpr std::uint32_t kLeastIpv4 = 552;   // net.ipv4.route.min_pmtu
  constexpr std::uint32_t kLeastIpv6 = 1280;  // RFC 8200, 5
  auto& slot = tables_->path_mtu_slot(address);
  slot = {address, std::max(mtu, address.is_v4() ? kLeastIpv4 : kLeastIpv6)};
  ++generation_;
}

void NetworkView::forget_path_mtus() noexcept {
  std::fill(tables_->path_mtus.begin(), tables_->path_mtus.end(), Tables::PathMtu{});
  ++generation_;
}

const Interface* NetworkView::interface(InterfaceId id) const noexcept {
  const auto found = tables_->interfaces.find(id);
  return found == tables_->interfaces.end() ? nullptr : &found->second;
}

const Interface* NetworkView::interface(std::string_view name) const noexcept {
  for (const auto& [id, interface] : tables_->interfaces) {
    if (interface.name == name) return &interface;
  }
  return nullptr;
}

bool NetworkView::is_local(const IpAddress& address) const noexcept {
  if (tables_->is_own(address) || address.is_loopback()) return true;
  if (tables_->local_routes == 0) return false;
  const Candidate* candidate = tables_->find(address);
  return candidate != nullptr && candidate->route.local;
}

std::vector<net::IpAddress> NetworkView::own_addresses() const {
  std::vector<net::IpAddress> result;
  result.reserve(tables_->addresses.size());
  for (const auto& own : tables_->addresses) result.push_back(own.address);
  return result;
}

bool NetworkView::is_unicast(const IpAddress& address) const noexcept {
  if (address.is_unspecified() || address.is_multicast() || address.is_broadcast()) return false;
  if (!address.is_v4() || is_local(address)) return true;
  constexpr unsigned kLongestWithBroadcast = 30;  // RFC 3021: a /31 has none
  const auto bits = address.word(0).to_host();
  return std::none_of(
      tables_->addresses.begin(), tables_->addresses.end(), [&](const OwnAddress& own) {
        if (!own.address.is_v4() || own.prefix_length > kLongestWithBroadcast) return false;
        const auto host_bits = ~std::uint32_t{0} >> own.prefix_length;
        return own.address.prefix(own.prefix_length) == address.prefix(own.prefix_length) &&
               (bits & host_bits) == host_bits;
      });
}

std::optional<NextHop> NetworkView::route(const IpAddress& address) const noexcept {
  auto& slot = tables_->cache[hash_of(address, 0) % Tables::kCacheSize];
  if (slot.generation == generation_ && slot.address == address) return slot.hop;
  const auto hop = tables_->look_up(address);
  if (hop) slot = {generation_, address, *hop};
  return hop;
}

std::optional<net::Mac> NetworkView::neighbour(InterfaceId id,
                                               const IpAddress& address) const noexcept {
  const auto found = tables_->neighbours.find(Key{address, static_cast<std::uint32_t>(id)});
  if (found == tables_->neighbours.end()) return std::nullopt;
  return found->second;
}

std::optional<IpAddress> NetworkView::source_for(const IpAddress& address) const noexcept {
  if (tables_->is_own(address) || address.is_loopback()) return address;
  const Candidate* candidate = tables_->find(address);
  if (candidate == nullptr) return std::nullopt;
  if (candidate->route.local) return address;
  if (candidate->route.source) return candidate->route.source;

  const IpAddress& target = candidate->route.via.value_or(address);
  // Each own address is scored: on the outgoing interface, of the scope of the destination,
  // (IPv4) on the next hop's link, (IPv6) longest common prefix. The first best one wins.
  const OwnAddress* best = nullptr;
  unsigned best_score = 0;
  for (const OwnAddress& own : tables_->addresses) {
    if (own.address.family() != address.family() || own.address.is_loopback()) continue;
    unsigned score = own.interface == candidate->route.out ? 1U << 10U : 1U;
    if (address.is_v4()) {
      if (own.prefix_length < 32 &&
          own.address.prefix(own.prefix_length) == target.prefix(own.prefix_length)) {
        score += 1U << 8U;
      }
    } else {
      if (own.address.is_link_local_v6() == address.is_link_local_v6()) score += 1U << 11U;
      score += std::min<unsigned>(common_prefix(own.address, address), own.prefix_length);
    }
    if (score > best_score) {
      best = &own;
      best_score = score;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(best->address);
}

std::optional<IpAddress> NetworkView::interface_address(InterfaceId id,
                                                        Family family) const noexcept {
  for (const OwnAddress& own : tables_->addresses) {
    if (own.interface == id && own.address.family() == family && !own.address.is_loopback() &&
        !own.address.is_link_local_v6()) {
      return own.address;
    }
  }
  return std::nullopt;
}

}  // namespace lb::engine
