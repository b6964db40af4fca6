// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "cli/ipvs_client.hpp"
#include "doctor/gather.hpp"
#include "host/wire_probe.hpp"

namespace lb::doctor {
namespace {

using host::Outcome;
using host::trouble;

constexpr std::chrono::milliseconds kWait(450);

tl::unexpected<std::string> unanswered(Error error) {
  return host::system_trouble("the director could not be asked", error.code);
}

/// The link and address that packets to `server` are sent to; null if that is no matter of the
/// wire.
std::optional<std::pair<int, net::IpAddress>> next_hop(const Facts& facts, const Server& server) {
  if (!server.route || server.route->is_local) return {};
  const auto* link = host::find_link(facts.links, server.route->link);
  if (link == nullptr || !link->is_ethernet) return {};
  return std::pair(link->index, server.route->gateway.value_or(server.info.spec.address));
}

/// Asks for the next hop of every server, each once.
Outcome<void> ask_for_servers(DirectorFacts& director, const Facts& facts) {
  std::map<std::pair<int, net::IpAddress>, std::vector<net::Mac>> found;
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (const auto hop = next_hop(facts, server)) found[*hop];
    }
  }
  std::vector<host::Asked> asked;
  for (const auto& [hop, macs] : found) {
    const auto* link = host::find_link(facts.links, hop.first);
    asked.push_back({.link = *link,
                     .question = {.address = hop.second,
                                  .own = host::own_address(facts.addresses, *link, hop.second)}});
  }
  host::ask_all(asked, kWait);
  for (const auto& one : asked) {
    if (!one.answers) return trouble(one.answers.error());
    found[{one.link.index, one.question.address}] = *one.answers;
  }
  for (auto& service : director.services) {
    for (auto& server : service.servers) {
      if (const auto hop = next_hop(facts, server)) server.next_hop_answers = found[*hop];
    }
  }
  return {};
}

Outcome<void> ask_for_addresses(const DirectorFacts& director, Facts& facts) {
  std::set<net::IpAddress> vips;
  std::set<int> links;
  for (const auto& service : director.services) {
    const auto& key = service.info.spec.key;
    if (key.fwmark == 0) vips.insert(key.address);
  }
  for (const auto& own : facts.addresses) {
    if (vips.contains(own.address)) links.insert(own.link);
  }
  for (const auto& served : director.status.interfaces) {
    if (const auto* link = host::find_link(facts.links, served.name)) links.insert(link->index);
  }
  return ask_for_vips({vips.begin(), vips.end()}, {links.begin(), links.end()}, facts);
}

}  // namespace

Outcome<void> gather_director(wire::Transport& transport, host::Rtnetlink& kernel, Facts& facts) {
  cli::IpvsClient client(transport);
  if (const auto opened = client.open(); !opened) {
    if (opened.error().code == ECONNREFUSED) return {};
    return unanswered(opened.error());
  }
  DirectorFacts director;
  auto status = client.status();
  if (!status) return unanswered(status.error());
  director.status = *std::move(status);
  const auto services = client.services();
  if (!services) return unanswered(services.error());
  for (const auto& info : *services) {
    Service service{.info = info};
    if (info.spec.key.fwmark == 0) {
      const auto own = kernel.route_to(info.spec.key.address);
      if (!own) return trouble(own.error());
      service.is_local = *own && (*own)->is_local;
    }
    const auto servers = client.destinations(info.spec.key);
    if (!servers) return unanswered(servers.error());
    for (const auto& one : *servers) {
      auto route = kernel.route_to(one.spec.address);
      if (!route) return trouble(route.error());
      service.servers.push_back({.info = one, .route = *route, .next_hop_answers = {}});
    }
    director.services.push_back(std::move(service));
  }
  const auto snat_rules = client.snat_rules();
  if (!snat_rules) return unanswered(snat_rules.error());
  if (auto asked = gather_snat(*snat_rules, kernel, facts, director); !asked) return asked;
  if (auto asked = ask_for_servers(director, facts); !asked) return asked;
  if (auto asked = ask_for_addresses(director, facts); !asked) return asked;
  facts.director = std::move(director);
  return {};
}

}  // namespace lb::doctor
