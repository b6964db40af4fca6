// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_rules.hpp"

#include <algorithm>
#include <tuple>

#include "engine/service_key_hash.hpp"
#include "engine/snat.hpp"
#include "engine/state/tcp.hpp"

namespace lb::engine {
namespace {

using model::SnatConflictKind;
using model::SnatKind;
using model::SnatRule;

// RFC 5382, REQ-5; RFC 4787, REQ-5; RFC 5508, REQ-2.
constexpr model::SnatTimeouts kDefaultTimeouts{
    .tcp = 7440, .tcp_transitory = 240, .udp = 300, .icmp = 60};
// After a reset nothing more is to come but what is under way.
constexpr std::uint32_t kClosedTimeout = 10;

// The more specific, the smaller.
auto rank(const SnatRule& rule) noexcept {
  return std::tuple{rule.family,        -int{rule.inside.length}, -int{rule.destination.length},
                    rule.protocol == 0, rule.interface.empty(),   rule.kind == SnatKind::kPool};
}

bool is_tried_before(const SnatEntry* a, const SnatEntry* b) noexcept {
  const auto ranks = std::pair{rank(a->rule), rank(b->rule)};
  if (ranks.first != ranks.second) return ranks.first < ranks.second;
  return std::tuple{a->rule.inside.address, a->rule.destination.address, a->rule.name.view()} <
         std::tuple{b->rule.inside.address, b->rule.destination.address, b->rule.name.view()};
}

bool holds(const model::PrefixMatch& match, const net::IpAddress& address) noexcept {
  return match.length == 0 || address.prefix(match.length) == match.address;
}

model::PortRange ports_of(const SnatRule& rule) noexcept {
  if (rule.has_ports()) return rule.ports;
  const std::uint16_t first = rule.kind == SnatKind::kStatic ? 1 : SnatRule::kFirstPort;
  return {first, 65535};
}

bool share_ports(const SnatRule& a, const SnatRule& b) noexcept {
  if (a.protocol != 0 && b.protocol != 0 && a.protocol != b.protocol) return false;
  const auto x = ports_of(a);
  const auto y = ports_of(b);
  return x.first <= y.last && y.first <= x.last;
}

// Two static mappings of the same hosts may have different ports.
bool ask_for_same(const SnatRule& a, const SnatRule& b) noexcept {
  const bool is_same = a.family == b.family && a.inside == b.inside &&
                       a.destination == b.destination && a.protocol == b.protocol &&
                       a.interface == b.interface && a.kind == b.kind;
  return is_same && (a.kind == SnatKind::kPool || share_ports(a, b));
}

// Pools may share addresses: what is taken is taken for all. A static mapping does not choose.
std::optional<net::IpAddress> shared_address(const SnatRule& a, const SnatRule& b) noexcept {
  if (a.family != b.family || (a.kind == SnatKind::kPool && b.kind == SnatKind::kPool) ||
      !share_ports(a, b)) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < a.pool_count; ++i) {
    for (std::size_t k = 0; k < b.pool_count; ++k) {
      const auto first = std::max(a.pool[i].first, b.pool[k].first);
      if (first <= std::min(a.pool[i].last, b.pool[k].last)) return first;
    }
  }
  return std::nullopt;
}

// `address` with the bits behind the first `length` taken from `rest`.
net::IpAddress combine(const net::IpAddress& address, unsigned length,
                       const net::IpAddress& rest) noexcept {
  auto bytes = address.bytes();
  for (unsigned i = 0; i < address.size(); ++i) {
    const unsigned kept = length <= i * 8 ? 0 : std::min(length - i * 8, 8U);
    const auto mask = static_cast<std::uint8_t>(0xff00U >> kept);
    bytes[i] = static_cast<std::uint8_t>((bytes[i] & mask) | (rest.bytes()[i] & ~mask));
  }
  const auto wide = net::IpAddress::v6(bytes);
  return address.is_v4() ? net::IpAddress::v4(wide.word(0)) : wide;
}

}  // namespace

net::IpAddress SnatEntry::outside_of(const net::IpAddress& inside,
                                     std::uint64_t choice) const noexcept {
  if (rule.kind == SnatKind::kStatic) {
    return combine(rule.pool[0].first, rule.inside.length, inside);
  }
  auto index = static_cast<std::uint32_t>(choice % pool_size);
  for (std::size_t i = 0; i < rule.pool_count; ++i) {
    const auto size = rule.pool[i].size();
    if (index < size) return rule.pool[i].at(index);
    index -= size;
  }
  return rule.pool[0].first;
}

net::IpAddress SnatEntry::inside_of(const net::IpAddress& outside) const noexcept {
  return combine(rule.inside.address, rule.inside.length, outside);
}

std::uint32_t SnatEntry::timeout(net::Protocol protocol, std::uint8_t state) const noexcept {
  const auto either = [](std::uint32_t set, std::uint32_t usual) { return set != 0 ? set : usual; };
  switch (protocol) {
    case net::Protocol::kTcp:
      if (static_cast<TcpState>(state) == TcpState::kEstablished) {
        return either(rule.timeouts.tcp, kDefaultTimeouts.tcp);
      }
      if (static_cast<TcpState>(state) == TcpState::kClose) return kClosedTimeout;
      return either(rule.timeouts.tcp_transitory, kDefaultTimeouts.tcp_transitory);
    case net::Protocol::kUdp:
      return either(rule.timeouts.udp, kDefaultTimeouts.udp);
    default:
      return either(rule.timeouts.icmp, kDefaultTimeouts.icmp);
  }
}

std::size_t SnatRules::PrefixIndex::KeyHash::operator()(const Key& key) const noexcept {
  return mix_hash(key.first, key.second);
}

void SnatRules::PrefixIndex::clear() noexcept {
  for (auto& lengths : lengths_) lengths.clear();
  rules_.clear();
}

void SnatRules::PrefixIndex::add(const net::IpAddress& prefix, std::uint8_t length,
                                 SnatEntry* entry) {
  auto& lengths = lengths_[prefix.is_v4() ? 0 : 1];
  const auto at = std::lower_bound(lengths.begin(), lengths.end(), length, std::greater<>());
  if (at == lengths.end() || *at != length) lengths.insert(at, length);
  rules_[{length, prefix}].push_back(entry);
}

template <class Visit>
SnatEntry* SnatRules::PrefixIndex::find(const net::IpAddress& address, Visit visit) const noexcept {
  for (const auto length : lengths_[address.is_v4() ? 0 : 1]) {
    const auto found = rules_.find(Key{length, address.prefix(length)});
    if (found == rules_.end()) continue;
    for (auto* entry : found->second) {
      if (visit(*entry)) return entry;
    }
  }
  return nullptr;
}

SnatEntry* SnatRules::find(const model::Name& name) const noexcept {
  const auto found = std::find_if(order_.begin(), order_.end(),
                                  [&](const auto* entry) { return entry->rule.name == name; });
  return found == order_.end() ? nullptr : *found;
}

std::optional<model::SnatConflict> SnatRules::conflict(const SnatRule& rule) const noexcept {
  if (find(rule.name) != nullptr) {
    return model::SnatConflict{.kind = SnatConflictKind::kName, .other = rule.name, .address = {}};
  }
  for (const auto* entry : order_) {
    if (ask_for_same(entry->rule, rule)) {
      return model::SnatConflict{
          .kind = SnatConflictKind::kSelector, .other = entry->rule.name, .address = {}};
    }
    if (const auto address = shared_address(entry->rule, rule)) {
      return model::SnatConflict{
          .kind = SnatConflictKind::kAddress, .other = entry->rule.name, .address = *address};
    }
  }
  return std::nullopt;
}

SnatEntry* SnatRules::insert(const SnatRule& rule, std::uint32_t slot) {
  if (slot == 0) {
    const auto free = std::find(slots_.begin() + 1, slots_.end(), nullptr);
    slot = static_cast<std::uint32_t>(free - slots_.begin());
  }
  if (slot > kMaxSnatRules) return nullptr;
  if (slot >= slots_.size()) slots_.resize(std::size_t{slot} + 1);
  if (slots_[slot] != nullptr) return nullptr;
  slots_[slot] = std::make_unique<SnatEntry>();
  auto* entry = slots_[slot].get();
  entry->rule = rule;
  entry->slot = slot;
  entry->pool_size = rule.pool_size();
  order_.insert(std::upper_bound(order_.begin(), order_.end(), entry, is_tried_before), entry);
  rebuild();
  return entry;
}

std::unique_ptr<SnatEntry> SnatRules::extract(SnatEntry& entry) {
  auto owner = std::move(slots_[entry.slot]);
  std::erase(order_, &entry);
  rebuild();
  return owner;
}

void SnatRules::rebuild() {
  ++generation_;
  ipv4_ = ipv6_ = 0;
  by_inside_.clear();
  by_outside_.clear();
  std::vector<model::AddressRange> ranges;
  for (auto* entry : order_) {
    const auto& rule = entry->rule;
    ++(rule.family == net::Family::kIpv4 ? ipv4_ : ipv6_);
    by_inside_.add(rule.inside.address, rule.inside.length, entry);
    if (rule.kind == SnatKind::kStatic) {
      by_outside_.add(rule.pool[0].first, rule.inside.length, entry);
    }
    ranges.insert(ranges.end(), rule.pool.begin(), rule.pool.begin() + rule.pool_count);
  }
  const auto starts_before = [](const auto& a, const auto& b) {
    return std::tuple{a.first.family(), a.first} < std::tuple{b.first.family(), b.first};
  };
  std::sort(ranges.begin(), ranges.end(), starts_before);
  outside_.clear();
  for (const auto& range : ranges) {
    const bool reaches = !outside_.empty() &&
                         outside_.back().first.family() == range.first.family() &&
                         range.first <= outside_.back().last;
    if (reaches) {
      outside_.back().last = std::max(outside_.back().last, range.last);
    } else {
      outside_.push_back(range);
    }
  }
}

SnatEntry* SnatRules::match(const Wanted& wanted) const noexcept {
  return by_inside_.find(wanted.inside, [&](const SnatEntry& entry) {
    const auto& rule = entry.rule;
    if (rule.protocol != 0 && rule.protocol != static_cast<std::uint8_t>(wanted.protocol)) {
      return false;
    }
    if (!holds(rule.destination, wanted.destination)) return false;
    if (!rule.interface.empty() && !wanted.is_hairpin &&
        rule.interface.view() != wanted.interface) {
      return false;
    }
    if (rule.kind == SnatKind::kPool || !rule.has_ports()) return true;
    return rule.ports.first <= wanted.inside_port && wanted.inside_port <= rule.ports.last;
  });
}

SnatEntry* SnatRules::match_static(net::Protocol protocol, const net::IpAddress& outside,
                                   std::uint16_t port) const noexcept {
  return by_outside_.find(outside, [&](const SnatEntry& entry) {
    const auto& rule = entry.rule;
    if (rule.protocol != 0 && rule.protocol != static_cast<std::uint8_t>(protocol)) return false;
    return !rule.has_ports() || (rule.ports.first <= port && port <= rule.ports.last);
  });
}

bool SnatRules::is_outside(const net::IpAddress& address) const noexcept {
  const auto key = std::tuple{address.family(), address};
  const auto after = std::upper_bound(
      outside_.begin(), outside_.end(), key, [](const auto& wanted, const auto& range) {
        return wanted < std::tuple{range.first.family(), range.first};
      });
  return after != outside_.begin() && std::prev(after)->holds(address);
}

}  // namespace lb::engine
