// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "doctor/gather.hpp"
#include "host/sysctl.hpp"
#include "host/wire_probe.hpp"

namespace lb::doctor {
namespace {

using host::Outcome;
using host::trouble;

constexpr std::chrono::milliseconds kWait(450);
constexpr std::uint32_t kAskedOfRange = 16;
constexpr std::size_t kAskedOfAll = 256;

/// The link in whose network `address` lies; null: a router has to know the way.
const host::Link* link_of(const Facts& facts, const net::IpAddress& address) {
  for (const auto& own : facts.addresses) {
    if (own.address.family() != address.family() || own.length == 0 ||
        own.length >= address.size() * 8 ||
        own.address.prefix(own.length) != address.prefix(own.length)) {
      continue;
    }
    const auto* link = host::find_link(facts.links, own.link);
    if (link != nullptr && link->is_ethernet && link->is_up) return link;
  }
  return nullptr;
}

/// The way to the hosts of a prefix; null: there is none. Its first addresses may be this host's
/// own.
Outcome<std::optional<host::Route>> way_to(const model::PrefixMatch& prefix,
                                           host::Rtnetlink& kernel) {
  constexpr std::uint32_t kTried = 8;
  const model::AddressRange from{.first = prefix.address, .last = prefix.address};
  const auto free_bits = prefix.address.size() * 8 - prefix.length;
  const bool is_network = free_bits > 1;  // the first address is the network's
  const auto last = free_bits < 3 ? (1U << free_bits) - 1 : kTried;
  Outcome<std::optional<host::Route>> way;
  for (std::uint32_t at = is_network ? 1 : 0; at <= last; ++at) {
    way = kernel.route_to(from.at(at));
    if (!way || !*way || !(*way)->is_local) break;
  }
  return way;
}

/// The way to what a rule is for outside; null: there is none.
Outcome<std::optional<host::Route>> way_out(const model::SnatRule& rule, host::Rtnetlink& kernel,
                                            const Facts& facts) {
  if (rule.destination.length != 0) return way_to(rule.destination, kernel);
  const auto found =
      std::find_if(facts.routes.begin(), facts.routes.end(), [&](const host::Route& route) {
        return route.length == 0 && route.destination.family() == rule.family;
      });
  if (found == facts.routes.end()) return std::optional<host::Route>();
  return std::optional(*found);
}

/// "32768 60999", as net.ipv4.ip_local_port_range has them.
std::optional<model::PortRange> read_range(const std::string& text) {
  model::PortRange range;
  const auto* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first);
  if (first.ec != std::errc{}) return std::nullopt;
  const auto* rest = std::find_if(first.ptr, end, [](char c) { return c != ' ' && c != '\t'; });
  if (std::from_chars(rest, end, range.last).ec != std::errc{}) return std::nullopt;
  return range;
}

}  // namespace

Outcome<void> gather_snat(const std::vector<model::SnatRuleInfo>& rules, host::Rtnetlink& kernel,
                          Facts& facts, DirectorFacts& director) {
  if (rules.empty()) return {};
  if (const auto text = host::read_sysctl("net/ipv4/ip_local_port_range")) {
    facts.local_ports = read_range(*text);
  }
  std::vector<host::Asked> asked;
  std::vector<std::size_t> asked_for;  // the rule of each
  for (const auto& info : rules) {
    SnatFacts one{.info = info, .inside = {}, .outside = {}, .answers = {}};
    one.asks_for_inside = info.rule.inside.length != 0;
    if (one.asks_for_inside) {
      const auto route = way_to(info.rule.inside, kernel);
      if (!route) return trouble(route.error());
      one.inside = *route;
    }
    const auto outside = way_out(info.rule, kernel, facts);
    if (!outside) return trouble(outside.error());
    one.outside = *outside;
    for (std::size_t i = 0; i < info.rule.pool_count; ++i) {
      const auto& range = info.rule.pool[i];
      for (std::uint32_t at = 0; at < std::min(range.size(), kAskedOfRange); ++at) {
        const auto address = range.at(at);
        const auto* link = link_of(facts, address);
        if (link == nullptr || asked.size() == kAskedOfAll) continue;
        asked.push_back({.link = *link,
                         .question = {.address = address,
                                      .own = host::own_address(facts.addresses, *link, address)}});
        asked_for.push_back(director.snat.size());
      }
    }
    director.snat.push_back(std::move(one));
  }
  host::ask_all(asked, kWait);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto& one = asked[i];
    if (!one.answers) return trouble(one.answers.error());
    director.snat[asked_for[i]].answers.push_back(
        {.address = one.question.address, .link = one.link.index, .macs = *one.answers});
  }
  return {};
}

}  // namespace lb::doctor
