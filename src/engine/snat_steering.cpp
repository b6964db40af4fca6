// SPDX-License-Identifier: Apache-2.0
#include "engine/snat_steering.hpp"

#include <algorithm>
#include <tuple>

#include "engine/director_state.hpp"

namespace lb::engine {
namespace {

auto place_of(const SnatPrefix& prefix) noexcept {
  return std::tuple{prefix.address.family(), prefix.address, prefix.length};
}

bool holds(const SnatPrefix& prefix, const SnatPrefix& other) noexcept {
  return prefix.address.family() == other.address.family() && prefix.length <= other.length &&
         other.address.prefix(prefix.length) == prefix.address;
}

model::PortRange together(const model::PortRange& a, const model::PortRange& b) noexcept {
  if (a.last == 0) return b;
  if (b.last == 0) return a;
  return {std::min(a.first, b.first), std::max(a.last, b.last)};
}

void take_over(SnatPrefix& prefix, const SnatPrefix& other) noexcept {
  prefix.is_inside |= other.is_inside;
  prefix.is_outside |= other.is_outside;
  prefix.is_own |= other.is_own;
  prefix.ports = together(prefix.ports, other.ports);
}

/// Adds the prefixes that together are the range.
void add_range(std::vector<SnatPrefix>& all, const model::AddressRange& range,
               const model::PortRange& ports) {
  const auto width = static_cast<std::uint8_t>(range.first.size() * 8);
  auto at = range.first;
  for (auto left = range.size(); left != 0;) {
    // The shortest prefix that begins here and does not reach beyond the end.
    std::uint8_t bits = 0;
    while (bits < 31 && (std::uint32_t{2} << bits) <= left && at.prefix(width - bits - 1U) == at) {
      ++bits;
    }
    all.push_back({.address = at,
                   .length = static_cast<std::uint8_t>(width - bits),
                   .is_outside = true,
                   .ports = ports});
    const auto size = std::uint32_t{1} << bits;
    left -= size;
    at = model::AddressRange{at, at}.at(size);
  }
}

model::PortRange ports_of(const model::SnatRule& rule) noexcept {
  if (rule.has_ports()) return rule.ports;
  const bool is_static = rule.kind == model::SnatKind::kStatic;
  return {is_static ? std::uint16_t{0} : model::SnatRule::kFirstPort, 65535};
}

}  // namespace

std::vector<SnatPrefix> snat_prefixes(const SnatRules& rules, const NetworkView& network) {
  std::vector<SnatPrefix> all;
  for (const auto* entry : rules.in_order()) {
    const auto& rule = entry->rule;
    all.push_back(
        {.address = rule.inside.address, .length = rule.inside.length, .is_inside = true});
    for (std::size_t i = 0; i < rule.pool_count; ++i) add_range(all, rule.pool[i], ports_of(rule));
  }
  if (all.empty()) return all;
  for (const auto& address : network.own_addresses()) {
    all.push_back({.address = address,
                   .length = static_cast<std::uint8_t>(address.size() * 8),
                   .is_own = true});
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return place_of(a) < place_of(b); });
  // Shorter prefixes stand before those that they hold; the ones open now are a chain.
  std::vector<SnatPrefix> result;
  std::vector<std::size_t> open;
  for (const auto& prefix : all) {
    if (!result.empty() && place_of(result.back()) == place_of(prefix)) {
      take_over(result.back(), prefix);
      continue;
    }
    while (!open.empty() && !holds(result[open.back()], prefix)) open.pop_back();
    result.push_back(prefix);
    if (!open.empty()) take_over(result.back(), result[open.back()]);
    open.push_back(result.size() - 1);
  }
  return result;
}

void update_snat_steering(DirectorState& state) {
  auto& snat = state.snat;
  const auto network = state.network.generation();
  if (snat.listener == nullptr) return;
  if (snat.steered_rules == snat.rules.generation() && snat.steered_network == network) return;
  const bool is_to_tell = snat.rules.size() != 0 || snat.steered_rules != snat.rules.generation();
  snat.steered_rules = snat.rules.generation();
  snat.steered_network = network;
  if (is_to_tell) snat.listener->snat_changed(snat_prefixes(snat.rules, state.network));
}

}  // namespace lb::engine
