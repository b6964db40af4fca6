// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "doctor/checks.hpp"
#include "host/device.hpp"

namespace lb::doctor {
namespace {

constexpr int kVethTakesLarge = 6009;  // Linux 6.9: AF_XDP takes large frames of veth in parts
constexpr std::uint64_t kTellingPackets = 10000;
constexpr std::uint64_t kTellingChecksums = 1000;
constexpr std::uint64_t kMostPercent = 90;

bool is_served(const DirectorFacts& director, const std::string& name) {
  return std::any_of(director.status.interfaces.begin(), director.status.interfaces.end(),
                     [&](const auto& one) { return one.name == name && one.xdp_mode != "none"; });
}

std::uint64_t value_of(const std::vector<wire::NamedCounter>& counters, std::string_view name) {
  const auto found = std::find_if(counters.begin(), counters.end(),
                                  [&](const auto& one) { return one.name == name; });
  return found == counters.end() ? 0 : found->value;
}

/// Nearly all of something is one part's.
bool is_lopsided(std::uint64_t most, std::uint64_t total) {
  return total >= kTellingPackets && most > total / 100 * kMostPercent;
}

/// What its driver lacks, in words.
std::string lack_of(const Facts& facts, const host::Link& link) {
  const auto driver = facts.drivers.find(link.index);
  const auto name = driver == facts.drivers.end() ? std::string("?") : driver->second;
  const auto found = facts.xdp_abilities.find(link.index);
  if (found == facts.xdp_abilities.end()) {
    return fmt::format("the driver ({}) has no native XDP or refused it", name);
  }
  if ((found->second & host::kXdpBasic) == 0) {
    return fmt::format("the driver ({}) has no native XDP", name);
  }
  if ((found->second & host::kXdpRedirect) == 0) {
    return fmt::format("the driver ({}) has native XDP, but can't redirect to AF_XDP", name);
  }
  return fmt::format(
      "the driver ({}) has native XDP, so xdp_mode says generic or the driver refused it as the "
      "interface is set up",
      name);
}

}  // namespace

void interfaces_are_served(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  std::set<std::string> told;
  for (const auto& one : director.status.interfaces) {
    if (one.xdp_mode != "none") continue;
    told.insert(one.name);
    findings.error(fmt::format("the served interface {} is gone", one.name),
                   "bring it back under that name, or change `interfaces' and restart sluiced");
  }
  for (const auto& service : director.services) {
    for (const auto& own : facts.addresses) {
      const auto* link = host::find_link(facts.links, own.link);
      if (own.address != service.info.spec.key.address || link == nullptr || link->is_loopback ||
          is_served(director, link->name) || !told.insert(link->name).second) {
        continue;
      }
      findings.warning(
          fmt::format("{} is on {}, which is not served: packets that come in there are the host's",
                      own.address.to_text(), link->name),
          fmt::format("add \"{}\" to `interfaces' and restart sluiced", link->name));
    }
    for (const auto& server : service.servers) {
      if (server.info.spec.method != model::ForwardingMethod::kMasquerade || !server.route ||
          server.is_local()) {
        continue;
      }
      const auto name = link_name(facts, server.route->link);
      if (is_served(director, name) || !told.insert(name).second) continue;
      findings.error(
          fmt::format("NAT server {} is behind {}, which is not served: its answers are not "
                      "translated",
                      server.info.spec.address.to_text(), name),
          fmt::format("add \"{}\" to `interfaces' and restart sluiced", name));
    }
  }
}

void xdp_is_native(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  for (const auto& one : director.status.interfaces) {
    const auto* link = host::find_link(facts.links, one.name);
    if (one.xdp_mode != "generic" || link == nullptr) continue;
    findings.warning(
        fmt::format("{} runs XDP in the kernel's generic mode, which is several times slower: {}",
                    one.name, lack_of(facts, *link)),
        "xdp_mode = \"native\" makes sluiced say why the driver refuses; MTU, LRO (ethtool -K IF "
        "lro "
        "off) and the number of queues (ethtool -L) are the usual reasons");
  }
}

void veth_peers_finish_frames(const DirectorFacts& director, const Facts& facts,
                              Findings& findings) {
  for (const auto& one : director.status.interfaces) {
    const auto unfinished = value_of(one.counters, "unfinished_checksums");
    if (unfinished >= kTellingChecksums) {
      findings.warning(
          fmt::format("{} is a veth whose peer left the checksums of {} frames to a device: XDP "
                      "can't forward such by itself, and each takes the longer way by the engine",
                      one.name, unfinished),
          "where the packets are made (the peer's namespace, or behind its bridge): ethtool -K IF "
          "tx off");
    }
  }
  if (facts.kernel == 0 || facts.kernel >= kVethTakesLarge) return;
  for (const auto& one : director.status.interfaces) {
    const auto* link = host::find_link(facts.links, one.name);
    if (one.xdp_mode != "generic" || link == nullptr || link->kind != "veth") continue;
    findings.warning(
        fmt::format("{} is a veth in generic mode: before Linux 6.9 frames that its peer leaves to "
                    "segmentation offload are too large, and dropped",
                    one.name),
        "in the peer's namespace: ethtool -K PEER tso off gso off tx off");
  }
}

void queues_share(const DirectorFacts& director, const Facts& facts, Findings& findings) {
  const auto& counters = director.status.director.counters;
  const auto forwarded = value_of(counters, "xdp_forwarded");
  const auto most_by_one = value_of(counters, "xdp_forwarded_by_busiest");
  if (facts.processors > 1 && is_lopsided(most_by_one, forwarded)) {
    findings.warning(
        fmt::format("one of {} processors does nearly all that XDP forwards ({} of {} packets): "
                    "the packets come by one receive queue, or the interrupts of all queues are "
                    "one processor's",
                    facts.processors, most_by_one, forwarded),
        "look at the queues (ethtool -l IF, ethtool -x IF), at /proc/interrupts and at "
        "/proc/irq/*/smp_affinity");
  }
  for (const auto& one : director.status.interfaces) {
    std::uint64_t total = 0;
    std::uint64_t most = 0;
    std::size_t queues = 0;
    for (const auto& counter : one.counters) {
      if (!counter.name.starts_with("packets_received_queue_")) continue;
      ++queues;
      total += counter.value;
      most = std::max(most, counter.value);
    }
    if (queues > 1 && is_lopsided(most, total)) {
      findings.warning(
          fmt::format(
              "one of the {} receive queues of {} gets {} of {} packets: the others are idle",
              queues, one.name, most, total),
          fmt::format(
              "look at the hash: ethtool -x {0}; ethtool -X {0} equal {1}; for UDP "
              "ethtool -N {0} rx-flow-hash udp4 sdfn. A tunnel between two hosts is one flow",
              one.name, queues));
    }
    const auto* link = host::find_link(facts.links, one.name);
    if (link != nullptr && link->kind.empty() && link->receive_queues == 1 &&
        facts.processors > 1) {
      findings.note(
          fmt::format("{} has one receive queue: one processor takes all its packets", one.name),
          fmt::format("if the device has more: ethtool -L {} combined N", one.name));
    }
  }
}

}  // namespace lb::doctor
