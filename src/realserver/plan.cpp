// SPDX-License-Identifier: Apache-2.0
#include "realserver/plan.hpp"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace lb::realserver {
namespace {

// As docs/networking/ip-sysctl of the kernel numbers them.
constexpr int kAnswerOwnInterface = 1;  // arp_ignore: only for addresses of the asked interface
constexpr int kAnswerSameSubnet = 2;    // ... and for askers of its subnet
constexpr int kAnswerNever = 8;         // ... for nothing at all
constexpr int kAnnounceBest = 2;        // arp_announce: only addresses of the asking interface
constexpr int kStrict = 1;              // rp_filter: the way back must be the same interface
constexpr int kLoose = 2;

// Headers that a tunnel may add: of IPIP by the family of the outside, and GRE's or GUE's.
constexpr std::uint32_t kOuterV4 = 20, kOuterV6 = 40, kGreOrGue = 12;
constexpr std::uint32_t kInnerV4 = 40, kInnerV6 = 60;  // IP and TCP of the packet inside

class Planner {
 public:
  Planner(const Setup& setup, const HostState& state) : setup_(setup), state_(state) {}

  Plan make() {
    check_interfaces();
    const bool is_own_address = setup_.mode != Mode::kNat;
    if (is_own_address) {
      // Before the address is there: else the host would answer for it meanwhile.
      keep_silent();
      loosen_filters();
      if (setup_.mode == Mode::kTunnel) strip_tunnels();
      for (const auto& vip : setup_.vips) put_on_loopback(vip);
    } else {
      ignore_redirects();
      for (const auto& vip : setup_.vips) refuse_own_address(vip);
    }
    for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) check_routes(family);
    if (setup_.mode == Mode::kTunnel) advise_segments();
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool has_family(net::Family family) const {
    return std::any_of(setup_.vips.begin(), setup_.vips.end(),
                       [&](const auto& vip) { return vip.family() == family; });
  }

  static std::string conf(std::string_view interface, std::string_view name) {
    return fmt::format("net/ipv4/conf/{}/{}", interface, name);
  }

  void set(const std::string& path, int value) {
    const auto present = state_.sysctl(path);
    if (!present || *present == value) return;
    plan_.changes.push_back({.kind = Change::Kind::kSysctl,
                             .what = path,
                             .before = std::to_string(*present),
                             .after = std::to_string(value)});
  }

  void check_interfaces() {
    for (const auto& name : setup_.interfaces) {
      const auto* link = host::find_link(state_.links, name);
      if (link == nullptr) {
        plan_.refusals.push_back(fmt::format("there is no interface '{}'", name));
      } else if (!link->is_up) {
        plan_.warnings.push_back(fmt::format("interface {} is down", name));
      }
    }
  }

  // The kernel takes the larger value of "all" and of the interface. Addresses of lo are nobody's
  // business on a link; for IPv6 that is so without a setting.
  void keep_silent() {
    if (!has_family(net::Family::kIpv4)) return;
    const auto answers = [](int value) {
      return value != kAnswerOwnInterface && value != kAnswerSameSubnet && value != kAnswerNever;
    };
    const auto all = state_.sysctl(conf("all", "arp_ignore"));
    if (all && answers(*all)) set(conf("all", "arp_ignore"), kAnswerOwnInterface);
    for (const auto& link : state_.links) {
      const auto own = state_.sysctl(conf(link.name, "arp_ignore"));
      if (own && *own > kAnswerOwnInterface && answers(*own)) {
        set(conf(link.name, "arp_ignore"), kAnswerOwnInterface);
      }
    }
    set(conf("all", "arp_announce"), kAnnounceBest);
  }

  // Clients' packets come in from the director, answers leave by the route to the client: a strict
  // filter drops the former when these differ. 2 on the interface wins over 1 of "all".
  void loosen_filters() {
    if (!has_family(net::Family::kIpv4)) return;
    const auto all = state_.sysctl(conf("all", "rp_filter")).value_or(0);
    for (const auto& name : setup_.interfaces) {
      const auto own = state_.sysctl(conf(name, "rp_filter"));
      if (own && std::max(all, *own) == kStrict) set(conf(name, "rp_filter"), kLoose);
    }
  }

  // A redirect of the director would send answers past it.
  void ignore_redirects() {
    set(conf("all", "accept_redirects"), 0);
    for (const auto& name : setup_.interfaces) {
      set(conf(name, "accept_redirects"), 0);
      set(fmt::format("net/ipv6/conf/{}/accept_redirects", name), 0);
    }
  }

  void strip_tunnels() {
    for (const auto& name : setup_.interfaces) {
      if (std::find(state_.decapsulating.begin(), state_.decapsulating.end(), name) ==
          state_.decapsulating.end()) {
        plan_.changes.push_back({.kind = Change::Kind::kDecap, .what = name});
      }
    }
  }

  void put_on_loopback(const net::IpAddress& vip) {
    const auto width = static_cast<unsigned>(vip.size() * 8);
    bool is_there = false;
    for (const auto& own : state_.addresses) {
      if (own.address != vip) continue;
      const auto* link = host::find_link(state_.links, own.link);
      if (link == nullptr) continue;
      if (!link->is_loopback) {
        plan_.refusals.push_back(fmt::format(
            "{} is an address of {} already, where this host would answer for it in the "
            "director's place; remove it there first: ip address del {}/{} dev {}",
            vip.to_text(), link->name, vip.to_text(), own.length, link->name));
      } else if (own.length != width) {
        plan_.refusals.push_back(fmt::format(
            "{} is on lo as /{}, which makes all of that network this host's own; remove it first: "
            "ip address del {}/{} dev lo",
            vip.to_text(), own.length, vip.to_text(), own.length));
      } else {
        is_there = true;
      }
    }
    if (is_there) return;
    plan_.changes.push_back(
        {.kind = Change::Kind::kAddress, .what = fmt::format("{}/{}", vip.to_text(), width)});
  }

  void refuse_own_address(const net::IpAddress& vip) {
    for (const auto& own : state_.addresses) {
      if (own.address != vip) continue;
      const auto* link = host::find_link(state_.links, own.link);
      plan_.refusals.push_back(
          fmt::format("{} is an address of this host (on {}); with NAT it is the director's alone",
                      vip.to_text(), link == nullptr ? "?" : link->name));
    }
  }

  void check_routes(net::Family family) {
    if (!has_family(family)) return;
    const std::string_view version = family == net::Family::kIpv4 ? "IPv4" : "IPv6";
    bool has_default = false;
    bool is_by_director = false;
    for (const auto& route : state_.routes) {
      if (route.destination.family() != family || route.length != 0) continue;
      const auto* link = host::find_link(state_.links, route.link);
      if (link == nullptr || link->is_loopback) continue;
      has_default = true;
      is_by_director |= setup_.director && route.gateway == setup_.director;
    }
    const bool knows = setup_.director && setup_.director->family() == family;
    if (!has_default) {
      plan_.warnings.push_back(fmt::format(
          "there is no {} default route: only clients to whom another route leads are answered",
          version));
    } else if (setup_.mode == Mode::kNat && knows && !is_by_director) {
      plan_.warnings.push_back(fmt::format(
          "the {} default route does not lead through the director: answers that bypass it carry "
          "this host's address and are refused by clients; ip route replace default via {}",
          version, setup_.director->to_text()));
    } else if (setup_.mode == Mode::kNat && !knows) {
      plan_.advice.push_back(fmt::format(
          "the {} route to clients must lead through the director (--director ADDRESS checks it)",
          version));
    } else if (setup_.mode != Mode::kNat && knows && is_by_director) {
      plan_.warnings.push_back(fmt::format(
          "the {} default route leads through the director, which drops packets that come with "
          "its own virtual address; answers have to take another router",
          version));
    }
  }

  // Clients that never see the ICMP error of the director must be kept from large segments.
  void advise_segments() {
    for (const auto& name : setup_.interfaces) {
      const auto* link = host::find_link(state_.links, name);
      if (link == nullptr) continue;
      const auto overhead = kOuterV6 + (setup_.gue_port != 0 ? kGreOrGue : 0);
      if (link->mtu <= overhead + kInnerV6) continue;  // no link for a tunnel
      const auto room = link->mtu - overhead;
      const bool is_told =
          std::any_of(state_.routes.begin(), state_.routes.end(), [&](const host::Route& route) {
            return route.length == 0 && route.link == link->index && route.advmss != 0 &&
                   route.advmss + kInnerV6 <= room;
          });
      if (is_told) continue;
      plan_.advice.push_back(fmt::format(
          "a tunnel over {} (MTU {}) holds packets of {} bytes (outer IPv4 of IPIP: {}); if "
          "clients do not hear ICMP errors, raise the MTU between director and server, or tell "
          "them smaller segments: ip route change default ... advmss {} (IPv6: {})",
          name, link->mtu, room, link->mtu - kOuterV4, room - kInnerV4, room - kInnerV6));
    }
  }

  const Setup& setup_;
  const HostState& state_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const Setup& setup, const HostState& state) { return Planner(setup, state).make(); }

std::vector<std::string> likely_interfaces(const HostState& state) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const auto& route : state.routes) {
    const auto* link = host::find_link(state.links, route.link);
    if (route.length == 0 && link != nullptr && !link->is_loopback) add(link->name);
  }
  if (!names.empty()) return names;
  for (const auto& link : state.links) {
    if (link.is_ethernet && link.is_up && !link.is_loopback) add(link.name);
  }
  return names;
}

}  // namespace lb::realserver
