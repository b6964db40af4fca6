// SPDX-License-Identifier: Apache-2.0
#include "doctor/check.hpp"

#include <fmt/format.h>

#include <array>

#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

constexpr auto kChecks = std::to_array<Check>({
    {"vip-missing", "virtual addresses are where they belong", director_owns_vips,
     server_owns_vips},
    {"vip-answered", "nobody but the director answers for a virtual address (asked on the wire)",
     only_director_answers, only_one_answers},
    {"arp-ignore", "a real server does not answer ARP for its virtual addresses", nullptr,
     server_is_silent},
    {"arp-announce", "a real server does not ask by ARP in the name of its virtual addresses",
     nullptr, server_announces_own},
    {"server-unresolved", "there is a way to every real server, and its next hop answers",
     servers_answer, nullptr},
    {"dr-other-subnet", "direct routing goes to servers on the same link", direct_servers_are_near,
     nullptr},
    {"nat-return-path", "answers of NAT servers come back through the director", nat_answers_return,
     nullptr},
    {"default-route", "answers of a real server take the right way", nullptr, server_default_route},
    {"rp-filter", "the reverse path filter lets clients' packets in", nullptr,
     server_filters_loosely},
    {"ip-forward", "the director's host routes", director_forwards, nullptr},
    {"redirects", "no ICMP redirect leads answers past the director", director_sends_no_redirects,
     server_takes_no_redirects},
    {"tunnel-mtu", "tunnels have room for clients' packets", tunnels_have_room,
     server_tells_segments},
    {"decapsulation", "a real server unwraps tunnels", nullptr, server_strips_tunnels},
    {"not-served", "all interfaces that matter are served", interfaces_are_served, nullptr},
    {"xdp-generic", "XDP runs in the driver", xdp_is_native, nullptr},
    {"veth-offload", "veth peers send frames as XDP takes them, with checksums",
     veth_peers_finish_frames, nullptr},
    {"one-queue", "receive queues share the traffic", queues_share, nullptr},
    {"snat-pool",
     "addresses of SNAT pools are answered for, by this host alone (asked on the wire)",
     snat_pools_are_answered, nullptr},
    {"snat-served", "both sides of SNAT rules are served", snat_sides_are_served, nullptr},
    {"snat-ports", "SNAT and the host's own connections use different ports", snat_has_ports,
     nullptr},
    {"snat-refused", "SNAT has an address and a port for every connection", snat_refuses_nobody,
     nullptr},
    {"table-full", "the connection table has room", table_has_room, nullptr},
    {"health", "the daemon finds itself healthy", director_is_healthy, nullptr},
    {"no-server", "every service has a server that takes connections", services_have_servers,
     nullptr},
    {"firewall", "no firewall is in the way", firewall_of_director, firewall_of_server},
    {"conntrack", "connection tracking has room", conntrack_of_director, conntrack_of_server},
});

}  // namespace

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return {};
}

std::span<const Check> all_checks() { return kChecks; }

std::vector<Finding> examine(const Facts& facts) {
  Findings findings;
  for (const auto& check : kChecks) {
    findings.set_check(check.name);
    if (facts.director && check.on_director != nullptr) {
      check.on_director(*facts.director, facts, findings);
    }
    if (facts.server && check.on_server != nullptr) {
      check.on_server(*facts.server, facts, findings);
    }
  }
  return findings.all();
}

std::string name_of(const model::ServiceKey& key) {
  if (key.fwmark != 0) return fmt::format("firewall mark {}", key.fwmark);
  const auto text = key.address.to_text();
  const auto port = key.port.to_host();
  return key.address.is_v4() ? fmt::format("{}:{}", text, port)
                             : fmt::format("[{}]:{}", text, port);
}

std::string link_name(const Facts& facts, int link) {
  const auto* found = host::find_link(facts.links, link);
  return found == nullptr ? fmt::format("interface {}", link) : found->name;
}

std::string macs_text(const std::vector<net::Mac>& macs) {
  std::string text;
  for (const auto& mac : macs) text += (text.empty() ? "" : ", ") + mac.to_text();
  return text;
}

}  // namespace lb::doctor
