// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

constexpr std::uint32_t kIpv4Header = 20, kIpv6Header = 40, kGreHeader = 4, kGueHeader = 8 + 4;
constexpr std::uint32_t kTcpHeader = 20;

std::uint32_t overhead_of(const model::DestinationSpec& server) {
  const auto outer = server.address.is_v4() ? kIpv4Header : kIpv6Header;
  switch (server.tunnel.type) {
    case model::TunnelType::kIpip:
      return outer;
    case model::TunnelType::kGre:
      return outer + kGreHeader;
    case model::TunnelType::kGue:
      return outer + kGueHeader;
  }
  return outer;
}

std::uint32_t mtu_of(const Facts& facts, const host::Route& route) {
  if (route.mtu != 0) return route.mtu;
  const auto* link = host::find_link(facts.links, route.link);
  return link == nullptr ? 0 : link->mtu;
}

/// The largest packet that clients may send: of the link that has the virtual address, or else the
/// smallest MTU among the links that are served.
std::uint32_t client_mtu(const DirectorFacts& director, const Facts& facts,
                         const net::IpAddress& vip) {
  for (const auto& own : facts.addresses) {
    const auto* link = host::find_link(facts.links, own.link);
    if (own.address == vip && link != nullptr && !link->is_loopback) return link->mtu;
  }
  std::uint32_t smallest = 0;
  for (const auto& served : director.status.interfaces) {
    const auto* link = host::find_link(facts.links, served.name);
    if (link != nullptr && (smallest == 0 || link->mtu < smallest)) smallest = link->mtu;
  }
  return smallest;
}

}  // namespace

void tunnels_have_room(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  std::set<net::IpAddress> told;
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      const auto& spec = server.info.spec;
      if (spec.method != model::ForwardingMethod::kTunnel || !server.route || server.is_local()) {
        continue;
      }
      const auto mtu = mtu_of(facts, *server.route);
      const auto overhead = overhead_of(spec);
      const auto wanted = client_mtu(director, facts, service.info.spec.key.address);
      if (mtu == 0 || mtu >= wanted + overhead || !told.insert(spec.address).second) continue;
      const auto room = mtu - std::min(mtu, overhead);
      const auto headers =
          (service.info.spec.key.family == net::Family::kIpv4 ? kIpv4Header : kIpv6Header) +
          kTcpHeader;
      findings.warning(
          fmt::format(
              "the tunnel to {} holds {} bytes (MTU {} less {} of headers), clients may send "
              "{}: larger packets are answered with ICMP, and clients that do not hear it hang",
              spec.address.to_text(), room, mtu, overhead, wanted),
          fmt::format("raise the MTU between director and server to {}, or have the server tell "
                      "segments of {}: ip route change default ... advmss {}",
                      wanted + overhead, room - std::min(room, headers),
                      room - std::min(room, headers)));
    }
  }
}

void server_tells_segments(const ServerFacts& server, const Facts& facts, Findings& findings) {
  if (server.mode != realserver::Mode::kTunnel) return;
  for (const auto& name : server.interfaces) {
    const auto* link = host::find_link(facts.links, name);
    if (link == nullptr) continue;
    const auto fits = link->mtu - std::min(link->mtu, 2 * kIpv6Header + kTcpHeader);
    const bool is_told =
        std::any_of(facts.routes.begin(), facts.routes.end(), [&](const host::Route& route) {
          return route.length == 0 && route.link == link->index && route.advmss != 0 &&
                 route.advmss <= fits;
        });
    constexpr std::uint32_t kEthernet = 1500;
    if (is_told || link->mtu >= kEthernet + kIpv6Header) continue;
    findings.note(
        fmt::format("this host tells clients segments for an MTU of {}, which do not fit into a "
                    "tunnel over {}",
                    link->mtu, name),
        fmt::format("ip route change default ... advmss {}, if clients do not hear ICMP errors",
                    fits));
  }
}

void server_strips_tunnels(const ServerFacts& server, const Facts& facts, Findings& findings) {
  if (server.mode != realserver::Mode::kTunnel || server.strips_tunnels) return;
  constexpr auto kTunnels =
      std::to_array<std::string_view>({"ipip", "sit", "ip6tnl", "gre", "ip6gre", "gretap"});
  const bool has_device =
      std::any_of(facts.links.begin(), facts.links.end(), [&](const host::Link& link) {
        return link.is_up &&
               std::find(kTunnels.begin(), kTunnels.end(), link.kind) != kTunnels.end();
      });
  if (has_device) return;
  findings.error(
      "nothing here unwraps the director's tunnels: no tunnel device is up, and no "
      "interface has the program that strips them",
      "sluice realserver up --mode tun, or sluice realserver decap --interface NAME");
}

}  // namespace lb::doctor
