// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/snat_text.hpp"
#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

bool is_served(const DirectorFacts& director, const std::string& name) {
  return std::any_of(director.status.interfaces.begin(), director.status.interfaces.end(),
                     [&](const auto& one) { return one.name == name && one.xdp_mode != "none"; });
}

std::string rule_name(const SnatFacts& rule) {
  return fmt::format("the SNAT rule `{}'", rule.info.rule.name.view());
}

bool is_own(const Facts& facts, const net::IpAddress& address) {
  return std::any_of(facts.addresses.begin(), facts.addresses.end(),
                     [&](const auto& own) { return own.address == address; });
}

/// Tells of an address on a link that somebody else, or nobody, answers for. True if it did.
bool look_at_answers(const SnatFacts& rule, const Facts& facts, const WireAnswer& answer,
                     Findings& findings) {
  std::vector<net::Mac> others;
  for (const auto& mac : answer.macs) {
    const bool is_mine = std::any_of(facts.links.begin(), facts.links.end(),
                                     [&](const host::Link& link) { return link.mac == mac; });
    if (!is_mine) others.push_back(mac);
  }
  const auto text = answer.address.to_text();
  const auto link = link_name(facts, answer.link);
  if (!others.empty()) {
    findings.error(
        fmt::format("{} of {} is another host's ({} answers for it on {}): answers go there", text,
                    rule_name(rule), macs_text(others), link),
        "take it away from that host, or out of the pool");
    return true;
  }
  if (is_own(facts, answer.address)) return false;
  findings.warning(
      fmt::format("{} of {} lies in the network of {}, but is no address of this host: unless it "
                  "is a proxy entry, nobody answers for it there, and no answer comes back",
                  text, rule_name(rule), link),
      fmt::format("ip address add {}/{} dev {} (or ip neigh add proxy {} dev {})", text,
                  answer.address.size() * 8, link, text, link));
  return true;
}

}  // namespace

void snat_pools_are_answered(const DirectorFacts& director, const Facts& facts,
                             Findings& findings) {
  for (const auto& rule : director.snat) {
    // One tells as much as a pool of them.
    for (const auto& answer : rule.answers) {
      if (look_at_answers(rule, facts, answer, findings)) break;
    }
  }
}

void snat_sides_are_served(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  std::set<std::string> told;
  const auto look = [&](const SnatFacts& rule, const std::string& name, std::string_view who) {
    if (is_served(director, name) || !told.insert(name).second) return;
    findings.error(
        fmt::format(
            "{} of {} {} {}, which is not served: their packets are not "
            "translated",
            who, rule_name(rule),
            host::find_link(facts.links, name) == nullptr ? "would be behind" : "are behind", name),
        fmt::format("add \"{}\" to `interfaces' of sluiced", name));
  };
  for (const auto& rule : director.snat) {
    if (rule.asks_for_inside && !rule.inside) {
      findings.error(
          fmt::format("there is no route to the inside hosts of {}: answers reach none "
                      "of them",
                      rule_name(rule)),
          fmt::format("ip route add {}/{} via ROUTER", rule.info.rule.inside.address.to_text(),
                      rule.info.rule.inside.length));
    }
    if (rule.inside && !rule.inside->is_local) {
      look(rule, link_name(facts, rule.inside->link), "inside hosts");
    }
    const auto& out = rule.info.rule.interface;
    if (!out.empty()) {
      look(rule, std::string(out.view()), "hosts outside");
    } else if (rule.outside && !rule.outside->is_local) {
      look(rule, link_name(facts, rule.outside->link), "hosts outside");
    }
  }
}

void snat_has_ports(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  for (const auto& one : director.snat) {
    const auto& rule = one.info.rule;
    if (!rule.has_ports() || !facts.local_ports || rule.kind == model::SnatKind::kStatic) continue;
    const auto& local = *facts.local_ports;
    if (rule.ports.last < local.first || local.last < rule.ports.first) continue;
    for (std::size_t i = 0; i < rule.pool_count; ++i) {
      const auto own =
          std::find_if(facts.addresses.begin(), facts.addresses.end(),
                       [&](const auto& had) { return rule.pool[i].holds(had.address); });
      if (own == facts.addresses.end()) continue;
      findings.warning(
          fmt::format("{} gives away ports {}-{} of {}, from which this host's own connections get "
                      "theirs ({}-{}), too: both can take the same one, and the host's loses its "
                      "answers",
                      rule_name(one), rule.ports.first, rule.ports.last, own->address.to_text(),
                      local.first, local.last),
          "other ports for the rule (--ports), or sysctl -w net.ipv4.ip_local_port_range=...; "
          "without --ports the rule leaves them out by itself");
      break;
    }
  }
}

void snat_refuses_nobody(const DirectorFacts& director, const Facts&, Findings& findings) {
  for (const auto& one : director.snat) {
    const auto& info = one.info;
    const auto refused = info.refused_pool + info.refused_limit + info.refused_table;
    if (refused == 0) continue;
    const auto last = cli::last_refusal_text(info);
    const auto remedy = [&]() -> std::string_view {
      switch (info.last_refusal) {
        case model::SnatRefusal::kClientLimit:
          return "raise --limit, or look at what that host does (sluice connections)";
        case model::SnatRefusal::kTableFull:
          return "raise table_size and restart sluiced";
        default:
          return "give the rule more addresses (--pool) or ports (--ports)";
      }
    }();
    findings.warning(
        fmt::format("{} has refused {} connections (no port {}, limit {}, table full {}){}{}",
                    rule_name(one), refused, info.refused_pool, info.refused_limit,
                    info.refused_table, last.empty() ? "" : "; the last: ", last),
        fmt::format("{}; then sluice snat zero {}", remedy, info.rule.name.view()));
  }
}

}  // namespace lb::doctor
