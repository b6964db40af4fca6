// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

constexpr std::uint64_t kNearlyFullPercent = 90;

void look_at_conntrack(const Facts& facts, Findings& findings) {
  const auto count = facts.sysctl("net/netfilter/nf_conntrack_count");
  const auto most = facts.sysctl("net/netfilter/nf_conntrack_max");
  if (!count || !most || *most <= 0) return;
  if (static_cast<std::uint64_t>(*count) * 100 <
      static_cast<std::uint64_t>(*most) * kNearlyFullPercent) {
    return;
  }
  findings.warning(
      fmt::format("connection tracking has {} of {} entries: when it is full the kernel drops "
                  "packets of new connections",
                  *count, *most),
      "sysctl -w net.netfilter.nf_conntrack_max=..., or keep the services' packets out of it "
      "(notrack)");
}

/// The chains at `hook` that drop what no rule accepts, in words.
std::string dropping(const Facts& facts, std::uint32_t hook) {
  std::string text;
  for (const auto& chain : facts.chains) {
    if (chain.hook == hook && chain.drops_by_default) {
      text += (text.empty() ? "" : ", ") + chain.name;
    }
  }
  return text;
}

}  // namespace

void table_has_room(const DirectorFacts& director, const Facts&, Findings& findings) {
  const auto& status = director.status.director;
  const auto used = status.connections;
  const auto most = status.connection_capacity;
  if (most == 0 || used * 100 < most * kNearlyFullPercent) return;
  findings.warning(
      fmt::format(
          "the connection table holds {} of {}: when it is full, new connections are dropped", used,
          most),
      "raise table_size and restart sluiced, shorten timeouts (ipvsadm --set), or look for a flood "
      "(sluice sysctl drop_entry=1)");
}

void director_is_healthy(const DirectorFacts& director, const Facts&, Findings& findings) {
  const auto& health = director.status.director.health;
  if (health.empty() || health == "ok") return;
  findings.warning(fmt::format("sluiced is {}", health),
                   "docs/operations.md, \"Watch\", says what each reason means");
}

void services_have_servers(const DirectorFacts& director, const Facts&, Findings& findings) {
  for (const auto& service : director.services) {
    const bool is_usable = std::any_of(service.servers.begin(), service.servers.end(),
                                       [](const Server& server) { return server.is_used(); });
    if (is_usable) continue;
    findings.warning(
        fmt::format("{} has {}: new clients are refused", name_of(service.info.spec.key),
                    service.servers.empty() ? "no real servers" : "only real servers of weight 0"),
        "ipvsadm -a, or ipvsadm -e ... -w 1");
  }
}

void firewall_of_director(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  const auto rules = std::any_of(facts.chains.begin(), facts.chains.end(), [](const auto& chain) {
    return chain.hook <= host::kHookForward && chain.rules > 0;
  });
  if (!director.services.empty() && (rules || facts.has_legacy_firewall)) {
    findings.note(
        "this host has firewall rules; packets of virtual services do not pass them, for "
        "XDP takes those before",
        "filter on the real servers or in front; marks: sluice mark import-iptables");
  }
  const auto chains = dropping(facts, host::kHookInput);
  if (chains.empty()) return;
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (!server.is_local()) continue;
      findings.warning(
          fmt::format("{} drops what no rule accepts, and {} has a server on this host itself",
                      chains, name_of(service.info.spec.key)),
          "let a rule accept it");
      return;
    }
  }
}

void firewall_of_server(const ServerFacts& server, const Facts& facts, Findings& findings) {
  const auto chains = dropping(facts, host::kHookInput);
  if (chains.empty()) return;
  const bool is_nat = server.mode == realserver::Mode::kNat;
  findings.warning(
      fmt::format("{} drops what no rule accepts: see that clients' packets to {} are accepted{}",
                  chains, is_nat ? "this host's address" : "the virtual addresses",
                  server.mode == realserver::Mode::kTunnel
                      ? ", and with a tunnel device the tunnel's protocol (4, 41, 47)"
                      : ""),
      "nft list ruleset; the check can't tell what the rules accept");
}

void conntrack_of_director(const DirectorFacts&, const Facts& facts, Findings& findings) {
  look_at_conntrack(facts, findings);
}

void conntrack_of_server(const ServerFacts&, const Facts& facts, Findings& findings) {
  if (facts.director) return;  // told
  look_at_conntrack(facts, findings);
}

}  // namespace lb::doctor
