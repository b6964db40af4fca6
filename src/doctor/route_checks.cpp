// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

using model::ForwardingMethod;
using realserver::Mode;

// So many packets without one answer are no chance.
constexpr std::uint64_t kTellingPackets = 10;

bool is_masqueraded(const Server& server) {
  return server.info.spec.method == ForwardingMethod::kMasquerade;
}

bool has_nat(const DirectorFacts& director, net::Family family) {
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (is_masqueraded(server) && !server.is_local() &&
          server.info.spec.address.family() == family) {
        return true;
      }
    }
  }
  return false;
}

std::string server_in(const Server& server, const Service& service) {
  return fmt::format("real server {} of {}", server.info.spec.address.to_text(),
                     name_of(service.info.spec.key));
}

std::string_view version_of(net::Family family) {
  return family == net::Family::kIpv4 ? "IPv4" : "IPv6";
}

bool has_family(const ServerFacts& server, net::Family family) {
  return std::any_of(server.vips.begin(), server.vips.end(),
                     [&](const auto& vip) { return vip.family() == family; });
}

bool is_default(const host::Route& route, const Facts& facts, net::Family family) {
  const auto* link = host::find_link(facts.links, route.link);
  return route.destination.family() == family && route.length == 0 && link != nullptr &&
         !link->is_loopback;
}

}  // namespace

void servers_answer(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (!server.is_used() || server.is_local()) continue;
      const auto name = server_in(server, service);
      if (!server.route) {
        findings.error(
            fmt::format("there is no route to {}: its packets are dropped as no_route", name),
            "ip route add, or remove the server (ipvsadm -d)");
        continue;
      }
      if (!server.next_hop_answers || !server.next_hop_answers->empty()) continue;
      const auto hop = server.route->gateway.value_or(server.info.spec.address);
      findings.error(
          fmt::format("{} does not answer {} on {}, it is the next hop to {}: its packets are "
                      "dropped as no_neighbour",
                      hop.to_text(), hop.is_v4() ? "ARP" : "neighbour discovery",
                      link_name(facts, server.route->link), name),
          "look at the host and its cable, or give the server weight 0 (ipvsadm -e ... -w 0)");
    }
  }
}

void direct_servers_are_near(const DirectorFacts& director, const Facts&, Findings& findings) {
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (server.info.spec.method != ForwardingMethod::kDirectRoute || !server.route ||
          !server.route->gateway) {
        continue;
      }
      findings.error(
          fmt::format(
              "{} is behind the router {}: direct routing leaves the virtual address as the "
              "destination, so that router sends the packet back or elsewhere",
              server_in(server, service), server.route->gateway->to_text()),
          "use a tunnel (ipvsadm -e ... -i) or NAT (-m), or give the server an address on a link "
          "of "
          "the director");
    }
  }
}

void nat_answers_return(const DirectorFacts& director, const Facts&, Findings& findings) {
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      const auto& counted = server.info.statistics.counters;
      if (!is_masqueraded(server) || server.is_local() || counted.packets_in < kTellingPackets ||
          counted.packets_out != 0) {
        continue;
      }
      findings.error(
          fmt::format("{} got {} packets and none came back through this host: it answers past the "
                      "director, is not reached, or nobody listens there",
                      server_in(server, service), counted.packets_in),
          "on the server, the route to the clients must lead through the director "
          "(sluice-realserver "
          "doctor --mode nat --director ADDRESS); the interface towards it must be served");
    }
  }
}

void server_default_route(const ServerFacts& server, const Facts& facts, Findings& findings) {
  for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
    if (!has_family(server, family)) continue;
    bool has_route = false;
    bool is_by_director = false;
    for (const auto& route : facts.routes) {
      if (!is_default(route, facts, family)) continue;
      has_route = true;
      is_by_director |= server.director && route.gateway == server.director;
    }
    const bool knows = server.director && server.director->family() == family;
    const auto version = version_of(family);
    if (!has_route) {
      findings.warning(
          fmt::format("there is no {} default route: only clients to whom another route leads are "
                      "answered",
                      version),
          "ip route add default via ROUTER");
    } else if (server.mode == Mode::kNat && knows && !is_by_director) {
      findings.error(
          fmt::format("the {} default route does not lead through the director: answers carry this "
                      "host's address, and clients refuse them",
                      version),
          fmt::format("ip route replace default via {}", server.director->to_text()));
    } else if (server.mode != Mode::kNat && knows && is_by_director) {
      findings.error(
          fmt::format("the {} default route leads through the director, which drops packets that "
                      "come with its own virtual address",
                      version),
          "let another router have the answers");
    }
  }
}

void server_filters_loosely(const ServerFacts& server, const Facts& facts, Findings& findings) {
  constexpr int kStrict = 1;
  if (server.mode == Mode::kNat || !has_family(server, net::Family::kIpv4)) return;
  for (const auto& name : server.interfaces) {
    if (facts.effective(name, "rp_filter") != kStrict) continue;
    bool has_default = false;
    bool is_same = false;
    for (const auto& route : facts.routes) {
      if (!is_default(route, facts, net::Family::kIpv4)) continue;
      has_default = true;
      is_same |= link_name(facts, route.link) == name;
    }
    if (has_default && is_same) continue;
    findings.error(
        fmt::format("rp_filter is strict on {}, but the way to clients is another one: what the "
                    "director sends is dropped without a word",
                    name),
        fmt::format("sysctl -w net.ipv4.conf.{}.rp_filter=2, or sluice realserver up", name));
  }
}

void director_forwards(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  const auto look = [&](net::Family family, const std::string& path, std::string_view setting) {
    if (!has_nat(director, family) || facts.sysctl(path).value_or(1) != 0) return;
    findings.warning(
        fmt::format(
            "{} forwarding is off: NAT servers reach nobody by themselves through this host "
            "(name servers, updates), and what Sluice leaves to the host is not routed",
            version_of(family)),
        fmt::format("sysctl -w {}=1", setting));
  };
  look(net::Family::kIpv4, "net/ipv4/ip_forward", "net.ipv4.ip_forward");
  look(net::Family::kIpv6, "net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding");
}

void director_sends_no_redirects(const DirectorFacts& director, const Facts& facts,
                                 Findings& findings) {
  std::vector<int> told;
  for (const auto& service : director.services) {
    const auto& vip = service.info.spec.key.address;
    for (const auto& server : service.servers) {
      if (!is_masqueraded(server) || server.is_local() || !server.route || !vip.is_v4()) continue;
      const int link = server.route->link;
      // One arm: clients come in where the servers are.
      const bool is_one_arm =
          std::any_of(facts.addresses.begin(), facts.addresses.end(),
                      [&](const auto& own) { return own.address == vip && own.link == link; });
      const auto name = link_name(facts, link);
      if (!is_one_arm || facts.effective(name, "send_redirects") == 0 ||
          facts.sysctl("net/ipv4/ip_forward").value_or(0) == 0 ||
          std::find(told.begin(), told.end(), link) != told.end()) {
        continue;
      }
      told.push_back(link);
      findings.warning(
          fmt::format("NAT servers and clients share {}, where this host sends ICMP redirects: a "
                      "server that believes one answers its client directly, which refuses that",
                      name),
          fmt::format(
              "sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{}.send_redirects=0",
              name));
    }
  }
}

void server_takes_no_redirects(const ServerFacts& server, const Facts& facts, Findings& findings) {
  if (server.mode != Mode::kNat || !has_family(server, net::Family::kIpv4)) return;
  for (const auto& name : server.interfaces) {
    if (facts.effective(name, "accept_redirects") == 0) continue;
    findings.warning(
        fmt::format("ICMP redirects are taken on {}: one of the director leads answers past it",
                    name),
        fmt::format("sysctl -w net.ipv4.conf.all.accept_redirects=0 "
                    "net.ipv4.conf.{}.accept_redirects=0, or sluice realserver up",
                    name));
  }
}

}  // namespace lb::doctor
