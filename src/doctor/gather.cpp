// SPDX-License-Identifier: Apache-2.0
#include "doctor/gather.hpp"

#include <algorithm>
#include <thread>

#include "host/device.hpp"
#include "host/sysctl.hpp"
#include "host/wire_probe.hpp"
#include "realserver/decap.hpp"
#include "realserver/plan.hpp"
#include "realserver/set_up.hpp"

namespace lb::doctor {
namespace {

using host::Outcome;
using host::trouble;

constexpr std::chrono::milliseconds kWait(450);

/// Addresses that somebody has put on lo.
std::vector<net::IpAddress> loopback_addresses(const Facts& facts) {
  std::vector<net::IpAddress> all;
  for (const auto& own : facts.addresses) {
    const auto* link = host::find_link(facts.links, own.link);
    if (link == nullptr || !link->is_loopback || own.address.is_loopback()) continue;
    all.push_back(own.address);
  }
  return all;
}

}  // namespace

Outcome<Facts> gather_host(host::Rtnetlink& kernel) {
  Facts facts;
  auto links = kernel.links();
  if (!links) return trouble(links.error());
  facts.links = *std::move(links);
  auto addresses = kernel.addresses();
  if (!addresses) return trouble(addresses.error());
  facts.addresses = *std::move(addresses);
  auto routes = kernel.routes();
  if (!routes) return trouble(routes.error());
  facts.routes = *std::move(routes);
  auto abilities = host::xdp_abilities();
  if (!abilities) return trouble(abilities.error());
  facts.xdp_abilities = *std::move(abilities);
  auto chains = host::firewall_chains();
  if (!chains) return trouble(chains.error());
  facts.chains = *std::move(chains);
  for (const auto& link : facts.links) facts.drivers[link.index] = host::driver_of(link.name);
  facts.has_legacy_firewall = host::has_legacy_firewall();
  facts.kernel = host::kernel_version();
  facts.processors = std::max(1U, std::thread::hardware_concurrency());
  facts.sysctl = host::read_sysctl_number;
  return facts;
}

Outcome<void> ask_for_vips(const std::vector<net::IpAddress>& vips, const std::vector<int>& links,
                           Facts& facts) {
  std::vector<host::Asked> asked;
  for (const int index : links) {
    const auto* link = host::find_link(facts.links, index);
    if (link == nullptr || !link->is_ethernet || !link->is_up) continue;
    for (const auto& vip : vips) {
      const auto own = host::own_address(facts.addresses, *link, vip);
      asked.push_back({.link = *link, .question = {.address = vip, .own = own}});
    }
  }
  host::ask_all(asked, kWait);
  for (const auto& one : asked) {
    if (!one.answers) return trouble(one.answers.error());
    facts.answers.push_back(
        {.address = one.question.address, .link = one.link.index, .macs = *one.answers});
  }
  return {};
}

Outcome<void> gather_server(const Options& options, Facts& facts) {
  const auto present = realserver::present_setup(options.state);
  if (!present) return trouble(present.error());
  ServerFacts server{.mode = options.mode,
                     .vips = options.vips,
                     .interfaces = options.interfaces,
                     .director = options.director};
  if (*present) {
    const auto& setup = **present;
    if (!server.mode) server.mode = setup.mode;
    if (server.vips.empty()) server.vips = setup.vips;
    if (server.interfaces.empty()) server.interfaces = setup.interfaces;
    if (!server.director) server.director = setup.director;
  }
  if (server.vips.empty() && !facts.director) server.vips = loopback_addresses(facts);
  if (server.vips.empty() && !options.tells_of_server()) return {};
  if (server.interfaces.empty()) {
    realserver::HostState state;
    state.links = facts.links;
    state.routes = facts.routes;
    server.interfaces = realserver::likely_interfaces(state);
  }
  std::vector<int> links;
  for (const auto& name : server.interfaces) {
    const auto* link = host::find_link(facts.links, name);
    if (link == nullptr) return trouble("there is no interface '" + name + "'");
    links.push_back(link->index);
    if (link->xdp == host::XdpKind::kNone) continue;
    const auto has_program = realserver::has_decap(name);
    if (!has_program) return trouble(has_program.error());
    server.strips_tunnels |= *has_program;
  }
  // With NAT the virtual addresses are on another side of the director.
  if (server.mode != realserver::Mode::kNat && !facts.director) {
    if (auto asked = ask_for_vips(server.vips, links, facts); !asked) return asked;
  }
  facts.server = std::move(server);
  return {};
}

}  // namespace lb::doctor
