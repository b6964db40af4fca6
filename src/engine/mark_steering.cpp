// SPDX-License-Identifier: Apache-2.0
#include "engine/mark_steering.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

namespace lb::engine {
namespace {

// Which own addresses rules name: single ones, those in prefixes, or all of a family.
class Wanted {
 public:
  void add(const model::MarkRule& rule) {
    if (rule.action != model::MarkAction::kMark) return;
    const auto& match = rule.destination;
    if (match.is_negated || match.length == 0) {
      all_[index_of(rule.family)] = true;
    } else if (match.length == match.address.size() * 8) {
      single_.push_back(match.address);
    } else {
      prefixes_.emplace_back(match.length, match.address);
    }
  }

  template <class Visit>
  void visit(const NetworkView& network, Visit visit) {
    for (const auto& address : single_) {
      if (network.is_local(address)) visit(address);
    }
    if (!all_[0] && !all_[1] && prefixes_.empty()) return;
    std::sort(prefixes_.begin(), prefixes_.end());
    prefixes_.erase(std::unique(prefixes_.begin(), prefixes_.end()), prefixes_.end());
    for (const auto& address : network.own_addresses()) {
      if (address.is_loopback()) continue;  // never on a link
      if (all_[index_of(address.family())] || is_in_prefix(address)) visit(address);
    }
  }

 private:
  static std::size_t index_of(net::Family family) noexcept {
    return family == net::Family::kIpv4 ? 0 : 1;
  }
  [[nodiscard]] bool is_in_prefix(const net::IpAddress& address) const {
    // In order of length; of each length, one search.
    for (auto at = prefixes_.begin(); at != prefixes_.end();) {
      const auto length = at->first;
      const auto end = std::find_if(at, prefixes_.end(),
                                    [&](const auto& prefix) { return prefix.first != length; });
      if (std::binary_search(at, end, std::pair{length, address.prefix(length)})) return true;
      at = end;
    }
    return false;
  }

  std::array<bool, 2> all_{};
  std::vector<net::IpAddress> single_;
  std::vector<std::pair<std::uint8_t, net::IpAddress>> prefixes_;
};

}  // namespace

std::size_t MarkSteering::AddressHash::operator()(const net::IpAddress& address) const noexcept {
  const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes());
  const auto mixed = (words[0] ^ (words[1] * 0x9e3779b97f4a7c15U)) * 0xbf58476d1ce4e5b9U;
  return mixed ^ (mixed >> 32U);
}

void MarkSteering::take(const net::IpAddress& address, SteeredEnds& ends) {
  auto& steered = steered_[address];
  if (steered.end == 0) {
    steered.end = ends.acquire(net::Protocol::kIp, address, net::Port{}, true);
  }
  steered.round = round_;
}

void MarkSteering::cover(const model::MarkRule& rule, const NetworkView& network,
                         SteeredEnds& ends) {
  Wanted wanted;
  wanted.add(rule);
  wanted.visit(network, [&](const net::IpAddress& address) { take(address, ends); });
}

void MarkSteering::update(const MarkRules& rules, const NetworkView& network, SteeredEnds& ends) {
  Wanted wanted;
  for (std::uint32_t position = 1; position <= rules.size(); ++position) {
    wanted.add(rules.at(position).rule);
  }
  ++round_;
  wanted.visit(network, [&](const net::IpAddress& address) { take(address, ends); });
  for (auto at = steered_.begin(); at != steered_.end();) {
    if (at->second.round == round_) {
      ++at;
      continue;
    }
    ends.release(at->second.end, true);
    at = steered_.erase(at);
  }
}

void MarkSteering::clear(SteeredEnds& ends) noexcept {
  for (const auto& [address, steered] : steered_) ends.release(steered.end, true);
  steered_.clear();
}

}  // namespace lb::engine
