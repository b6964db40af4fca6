// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/firewall.hpp"
#include "host/rtnetlink.hpp"
#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/snat.hpp"
#include "realserver/setup.hpp"
#include "wire/sluice_messages.hpp"

/// All that the checks look at. They are functions of this value alone: tests fill it by hand.
namespace lb::doctor {

/// Who answered on one link for one address. Only others than this host can.
struct WireAnswer {
  net::IpAddress address;
  int link = 0;
  std::vector<net::Mac> macs;
};

struct Server {
  model::DestinationInfo info;
  std::optional<host::Route> route;                       ///< null: there is none
  std::optional<std::vector<net::Mac>> next_hop_answers;  ///< null: not asked (not on Ethernet)

  [[nodiscard]] bool is_local() const { return route && route->is_local; }
  /// Gets new connections.
  [[nodiscard]] bool is_used() const { return info.spec.weight > 0; }
};

struct Service {
  model::ServiceInfo info;
  bool is_local = false;  ///< its address is one of this host; of no account for firewall marks
  std::vector<Server> servers = {};
};

/// A rule of source NAT.
struct SnatFacts {
  model::SnatRuleInfo info;
  bool asks_for_inside = false;        ///< it is for some inside hosts, not for all
  std::optional<host::Route> inside;   ///< to them; null: there is none
  std::optional<host::Route> outside;  ///< to its destinations; the default route if it has none
  std::vector<WireAnswer> answers;     ///< for addresses of its pool in the networks of links
};

/// Of a running director.
struct DirectorFacts {
  wire::Status status;
  std::vector<Service> services;
  std::vector<SnatFacts> snat = {};
};

/// Of a host that is, or is to be, a real server.
struct ServerFacts {
  std::optional<realserver::Mode> mode;
  std::vector<net::IpAddress> vips;
  std::vector<std::string> interfaces = {};  ///< by which the director's packets come in
  std::optional<net::IpAddress> director = {};
  bool strips_tunnels = false;  ///< on one of the interfaces
};

struct Facts {
  std::vector<host::Link> links;
  std::vector<host::LinkAddress> addresses;
  std::vector<host::Route> routes;
  std::map<int, std::string> drivers;          ///< by index of the link
  std::map<int, std::uint64_t> xdp_abilities;  ///< by index; empty: not told
  std::function<std::optional<int>(const std::string& path)> sysctl;
  std::vector<WireAnswer> answers;  ///< for virtual addresses
  std::vector<host::FirewallChain> chains;
  bool has_legacy_firewall = false;
  std::optional<model::PortRange> local_ports;  ///< of the host's own connections; null: not asked
  int kernel = 0;                               ///< 1000 * major + minor
  unsigned processors = 1;
  std::optional<DirectorFacts> director;
  std::optional<ServerFacts> server;

  /// The larger of the settings of "all" and of an interface, as the kernel combines many.
  [[nodiscard]] int effective(const std::string& interface, const std::string& name) const {
    const auto value = [&](const std::string& of) {
      return sysctl("net/ipv4/conf/" + of + "/" + name).value_or(0);
    };
    return std::max(value("all"), value(interface));
  }
};

}  // namespace lb::doctor
