// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "doctor/checks.hpp"

namespace lb::doctor {
namespace {

constexpr int kAnswerOwnInterface = 1;  // arp_ignore; see docs/networking/ip-sysctl of the kernel
constexpr int kAnswerSameSubnet = 2;
constexpr int kAnswerNever = 8;
constexpr int kAnnounceBest = 2;  // arp_announce

bool has_own_address(const ServerFacts& server) { return server.mode != realserver::Mode::kNat; }

/// The real servers whose next hop has this hardware address, in words.
std::string servers_at(const DirectorFacts& director, const net::Mac& mac) {
  std::set<std::string> names;
  for (const auto& service : director.services) {
    for (const auto& server : service.servers) {
      if (!server.next_hop_answers || (server.route && server.route->gateway)) continue;
      const auto& answers = *server.next_hop_answers;
      if (std::find(answers.begin(), answers.end(), mac) != answers.end()) {
        names.insert(server.info.spec.address.to_text());
      }
    }
  }
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "real server " : ", ") + name;
  return text;
}

}  // namespace

void director_owns_vips(const DirectorFacts& director, const Facts&, Findings& findings) {
  std::set<net::IpAddress> told;
  for (const auto& service : director.services) {
    const auto& key = service.info.spec.key;
    if (key.fwmark != 0 || service.is_local || !told.insert(key.address).second) continue;
    findings.error(
        fmt::format("{} is no address of this host: routers and clients on the link ask for it in "
                    "vain, and what comes all the same is not taken",
                    key.address.to_text()),
        fmt::format("ip address add {}/{} dev INTERFACE (the clients' side)", key.address.to_text(),
                    key.address.size() * 8));
  }
}

void server_owns_vips(const ServerFacts& server, const Facts& facts, Findings& findings) {
  for (const auto& vip : server.vips) {
    const auto text = vip.to_text();
    bool is_on_loopback = false;
    for (const auto& own : facts.addresses) {
      if (own.address != vip) continue;
      const auto* link = host::find_link(facts.links, own.link);
      if (link != nullptr && link->is_loopback) {
        is_on_loopback = true;
        continue;
      }
      findings.error(
          fmt::format("{} is an address of {}, so this host answers for it in the director's place",
                      text, link_name(facts, own.link)),
          fmt::format("ip address del {}/{} dev {}", text, own.length, link_name(facts, own.link)));
    }
    if (!has_own_address(server) || is_on_loopback) continue;
    findings.error(
        fmt::format("{} is not on lo: this host drops or forwards what the director sends it",
                    text),
        fmt::format("sluice realserver up --vip {} --mode dr (or tun)", text));
  }
}

void only_director_answers(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  for (const auto& answer : facts.answers) {
    for (const auto& mac : answer.macs) {
      const bool is_own = std::any_of(facts.links.begin(), facts.links.end(),
                                      [&](const host::Link& link) { return link.mac == mac; });
      if (is_own) continue;
      const auto who = servers_at(director, mac);
      findings.error(
          fmt::format(
              "{}{} answers {} for {} on {}: clients and routers that believe it go past the "
              "director",
              mac.to_text(), who.empty() ? "" : " (" + who + ")",
              answer.address.is_v4() ? "ARP" : "neighbour discovery", answer.address.to_text(),
              link_name(facts, answer.link)),
          fmt::format(
              "there: sluice realserver up --vip {} --mode dr (arp_ignore=1, the address on "
              "lo and nowhere else); or another host uses the address: take it away",
              answer.address.to_text()));
    }
  }
}

void only_one_answers(const ServerFacts&, const Facts& facts, Findings& findings) {
  for (const auto& answer : facts.answers) {
    if (answer.macs.size() < 2) continue;
    findings.error(
        fmt::format("{} hosts answer for {} on {} ({}): clients reach one of them by chance",
                    answer.macs.size(), answer.address.to_text(), link_name(facts, answer.link),
                    macs_text(answer.macs)),
        "only the director may answer; on the others: sluice realserver up");
  }
}

void server_is_silent(const ServerFacts& server, const Facts& facts, Findings& findings) {
  const bool has_v4 = std::any_of(server.vips.begin(), server.vips.end(),
                                  [](const auto& vip) { return vip.is_v4(); });
  if (!has_own_address(server) || !has_v4) return;
  for (const auto& link : facts.links) {
    if (!link.is_ethernet || !link.is_up) continue;
    const int value = facts.effective(link.name, "arp_ignore");
    if (value == kAnswerOwnInterface || value == kAnswerSameSubnet || value == kAnswerNever) {
      continue;
    }
    findings.error(
        fmt::format("arp_ignore is {} on {}: this host answers ARP there for virtual addresses on "
                    "lo, and takes clients from the director",
                    value, link.name),
        "sysctl -w net.ipv4.conf.all.arp_ignore=1, or sluice realserver up");
  }
}

void server_announces_own(const ServerFacts& server, const Facts& facts, Findings& findings) {
  const bool has_v4 = std::any_of(server.vips.begin(), server.vips.end(),
                                  [](const auto& vip) { return vip.is_v4(); });
  if (!has_own_address(server) || !has_v4) return;
  for (const auto& link : facts.links) {
    if (!link.is_ethernet || !link.is_up) continue;
    const int value = facts.effective(link.name, "arp_announce");
    if (value >= kAnnounceBest) continue;
    findings.warning(
        fmt::format(
            "arp_announce is {} on {}: an ARP request of this host in the name of a virtual "
            "address makes its neighbours send to it instead of the director",
            value, link.name),
        "sysctl -w net.ipv4.conf.all.arp_announce=2, or sluice realserver up");
  }
}

}  // namespace lb::doctor
