// SPDX-License-Identifier: Apache-2.0
#include "cli/option_rules.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>

namespace lb::cli {
namespace {

using Checked = tl::expected<void, Stop>;

constexpr const char* kDefaultInterface = "eth0";
constexpr const char* kDefaultScheduler = "wlc";

constexpr std::array<std::string_view, kOptionCount> kOptionNames = {"numeric",
                                                                     "connection",
                                                                     "service-address",
                                                                     "scheduler",
                                                                     "persistent",
                                                                     "netmask",
                                                                     "real-server",
                                                                     "forwarding-method",
                                                                     "weight",
                                                                     "u-threshold",
                                                                     "l-threshold",
                                                                     "mcast-interface",
                                                                     "timeout",
                                                                     "daemon",
                                                                     "stats",
                                                                     "rate",
                                                                     "thresholds",
                                                                     "persistent-conn",
                                                                     "nosort",
                                                                     "syncid",
                                                                     "exact",
                                                                     "ops",
                                                                     "pe",
                                                                     "sched-flags",
                                                                     "mcast-group",
                                                                     "mcast-port",
                                                                     "mcast-ttl",
                                                                     "sync-maxlen",
                                                                     "tun-info",
                                                                     "tun-type",
                                                                     "tun-port",
                                                                     "tun-nocsum",
                                                                     "tun-csum",
                                                                     "tun-remcsum"};

constexpr std::array<std::string_view, kCommandCount> kCommandNames = {
    "add-service",   "edit-service", "delete-service", "flush",      "restore",
    "save",          "list",         "zero",           "add-server", "edit-server",
    "delete-server", "set",          "start-daemon",   "stop-daemon"};

// One letter an option, in the order of `Option`: 'x' forbidden, '+' demanded, '1' at most one
// of these, '.' allowed.
constexpr std::array<std::string_view, kCommandCount> kRules = {
    "xx+...xxxxxxxxxxxxxxx...xxxxxxxxxx",  // add-service
    "xx+...xxxxxxxxxxxxxxx...xxxxxxxxxx",  // edit-service
    "xx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // delete-service
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // flush
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // restore
    ".xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // save
    ".11xxxxxxxxx11.......xxxxxxx.xxxxx",  // list
    "xx.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // zero
    "xx+xxx+....xxxxxxxxxxxxxxxxxx.....",  // add-server
    "xx+xxx+....xxxxxxxxxxxxxxxxxx.....",  // edit-server
    "xx+xxx+xxxxxxxxxxxxxxxxxxxxxxxxxxx",  // delete-server
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",  // set
    "xxxxxxxxxxx.xxxxxxx.xxxx....xxxxxx",  // start-daemon
    "xxxxxxxxxxxxxxxxxxx.xxxxxxxxxxxxxx",  // stop-daemon
};

constexpr std::size_t kFirstTunnelOption = static_cast<std::size_t>(Option::kTunnelType);

// The same for the tunnel types, from kTunnelType on.
constexpr std::array<std::string_view, 3> kTunnelNames = {"ipip", "gue", "gre"};
constexpr std::array<std::string_view, 3> kTunnelRules = {
    ".xxxx",  // ipip
    ".+111",  // gue
    ".x11x",  // gre
};

// The three mistakes are reported in the order of the options.
Checked check(std::string_view rules, std::size_t first, const OptionSet& options,
              std::string_view owner) {
  std::optional<std::string_view> exclusive;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto option = static_cast<Option>(first + i);
    const auto name = kOptionNames[first + i];
    if (!options.has(option)) {
      if (rules[i] == '+') {
        return usage_error(
            fmt::format("You need to supply the '{}' option for the {}", name, owner));
      }
      continue;
    }
    if (rules[i] == 'x') {
      return usage_error(fmt::format("Illegal '{}' option with the {}", name, owner));
    }
    if (rules[i] == '1') {
      if (exclusive) {
        return usage_error(fmt::format("The option '{}' conflicts with the '{}' option in the {}",
                                       name, *exclusive, owner));
      }
      exclusive = name;
    }
  }
  return {};
}

Checked check_options(CommandKind kind, const OptionSet& options) {
  const auto index = static_cast<std::size_t>(kind);
  return check(kRules[index], 0, options, fmt::format("'{}' command", kCommandNames[index]));
}

Checked check_tunnel_options(model::TunnelType type, const OptionSet& options) {
  const auto index = static_cast<std::size_t>(type);
  return check(kTunnelRules[index], kFirstTunnelOption, options,
               fmt::format("'{}' tunnel type", kTunnelNames[index]));
}

Checked complete_server(Command& command) {
  auto& destination = command.destination;
  const auto& key = command.service.key;
  const bool tunnel = destination.method == model::ForwardingMethod::kTunnel;
  // Direct routing and tunnels leave the port as it is, so it must be the service's. A mark
  // service has none.
  if (key.fwmark == 0 && (tunnel || destination.method == model::ForwardingMethod::kDirectRoute)) {
    destination.port = key.port;
  }
  if (tunnel) return check_tunnel_options(destination.tunnel.type, command.options);
  for (const auto option : {Option::kTunnelType, Option::kTunnelPort, Option::kTunnelNoChecksum,
                            Option::kTunnelChecksum, Option::kTunnelRemoteChecksum}) {
    if (command.options.has(option)) {
      return usage_error("Tunnel options conflict with forward method");
    }
  }
  if (destination.address.family() != key.family) {
    return usage_error("Different address family is allowed only for tunneling servers");
  }
  return {};
}

}  // namespace

std::string_view option_name(Option option) noexcept {
  return kOptionNames[static_cast<std::size_t>(option)];
}

tl::expected<void, Stop> complete(Command& command) {
  if (auto fine = check_options(command.kind, command.options); !fine) return fine;
  auto& service = command.service;
  switch (command.kind) {
    case CommandKind::kAddService:
    case CommandKind::kEditService:
      if (service.key.fwmark == 0 && service.key.port == net::Port() &&
          (service.flags & model::kServicePersistent) == 0) {
        return usage_error("Zero port specified for non-persistent service");
      }
      if ((service.flags & model::kServiceOnePacket) != 0 && service.key.fwmark == 0 &&
          service.key.protocol != net::Protocol::kUdp) {
        return usage_error("One-Packet Scheduling is only for UDP virtual services");
      }
      if (service.scheduler.empty()) service.scheduler = kDefaultScheduler;
      return {};
    case CommandKind::kAddServer:
    case CommandKind::kEditServer:
      return complete_server(command);
    case CommandKind::kStartDaemon:
      if (command.daemon.interface.empty()) command.daemon.interface = kDefaultInterface;
      return {};
    default:
      return {};
  }
}

}  // namespace lb::cli
