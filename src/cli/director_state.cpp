// SPDX-License-Identifier: Apache-2.0
#include "cli/director_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "cli/address_text.hpp"
#include "cli/mark_text.hpp"
#include "cli/rules.hpp"
#include "cli/scheduler_flags.hpp"
#include "cli/snat_text.hpp"

namespace lb::cli {
namespace {

constexpr std::uint32_t kSettable = model::kServicePersistent | model::kServiceOnePacket |
                                    model::kServiceSched1 | model::kServiceSched2 |
                                    model::kServiceSched3;
constexpr std::uint32_t kWholeIpv6Address = 128;
constexpr std::uint32_t kWholeIpv4Address = 0xffffffff;

/// A string of TOML.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (code < 0x20 || code == 0x7f) {
      result += fmt::format("\\u{:04x}", code);
    } else {
      result += c;
    }
  }
  return result + '"';
}

using Out = std::back_insert_iterator<std::string>;

void write_key(Out out, const model::ServiceKey& key) {
  if (key.fwmark != 0) {
    fmt::format_to(out, "fwmark = {}\n", key.fwmark);
    if (key.family == net::Family::kIpv6) fmt::format_to(out, "ipv6 = true\n");
    return;
  }
  const auto* const name = key.protocol == net::Protocol::kTcp   ? "tcp"
                           : key.protocol == net::Protocol::kUdp ? "udp"
                                                                 : "sctp";
  fmt::format_to(out, "{} = {}\n", name, quoted(endpoint_text(key.address, key.port, {})));
}

void write_options(Out out, const model::ServiceOptions& options) {
  if (options.drain && *options.drain == model::ServiceOptions::kNoDrain) {
    fmt::format_to(out, "drain = \"off\"\n");
  } else if (options.drain) {
    fmt::format_to(out, "drain = {}\n", *options.drain);
  }
  if (options.drain_end) {
    constexpr std::string_view kEnds[] = {"keep", "reschedule", "reset"};
    fmt::format_to(out, "drain_end = \"{}\"\n",
                   kEnds[static_cast<std::size_t>(*options.drain_end)]);
  }
  if (options.reuse_ports) fmt::format_to(out, "reuse_ports = {}\n", *options.reuse_ports);
  const auto& [tcp, tcp_fin, udp] = options.timeouts;
  if (tcp != 0) fmt::format_to(out, "timeout_tcp = {}\n", tcp);
  if (tcp_fin != 0) fmt::format_to(out, "timeout_tcp_fin = {}\n", tcp_fin);
  if (udp != 0) fmt::format_to(out, "timeout_udp = {}\n", udp);
}

void write_server(Out out, const model::DestinationSpec& spec) {
  fmt::format_to(out, "\n  [[service.server]]\n  address = {}\n",
                 quoted(endpoint_text(spec.address, spec.port, {})));
  const auto* const forward = spec.method == model::ForwardingMethod::kMasquerade ? "masquerading"
                              : spec.method == model::ForwardingMethod::kTunnel   ? "tunnel"
                                                                                  : "direct";
  fmt::format_to(out, "  forward = \"{}\"\n  weight = {}\n", forward, spec.weight);
  if (spec.upper_threshold != 0) {
    fmt::format_to(out, "  upper_threshold = {}\n", spec.upper_threshold);
  }
  if (spec.lower_threshold != 0) {
    fmt::format_to(out, "  lower_threshold = {}\n", spec.lower_threshold);
  }
  if (spec.method != model::ForwardingMethod::kTunnel) return;
  constexpr std::string_view kTypes[] = {"ipip", "gue", "gre"};
  constexpr std::string_view kChecksums[] = {"none", "plain", "remote"};
  fmt::format_to(out, "  tunnel = \"{}\"\n", kTypes[static_cast<std::size_t>(spec.tunnel.type)]);
  if (spec.tunnel.type == model::TunnelType::kGue) {
    fmt::format_to(out, "  tunnel_port = {}\n", spec.tunnel.port.to_host());
  }
  if (spec.tunnel.flags != 0 && spec.tunnel.flags <= model::kTunnelRemoteChecksum) {
    fmt::format_to(out, "  tunnel_checksum = \"{}\"\n", kChecksums[spec.tunnel.flags]);
  }
}

void write_service(Out out, const ServiceState& service) {
  const auto& spec = service.spec;
  fmt::format_to(out, "\n[[service]]\n");
  write_key(out, spec.key);
  fmt::format_to(out, "scheduler = {}\n", quoted(spec.scheduler.view()));
  // By the names that every scheduler takes; sh and mh have none for the third.
  if (has_scheduler_flags(spec.flags)) {
    fmt::format_to(out, "scheduler_flags = \"{}\"\n", scheduler_flags_text("", spec.flags));
  }
  if ((spec.flags & model::kServicePersistent) != 0) {
    fmt::format_to(out, "persistent = {}\n", spec.timeout);
    if (const auto mask = netmask_text(spec)) fmt::format_to(out, "netmask = {}\n", quoted(*mask));
  }
  if (!spec.persistence_engine.empty()) {
    fmt::format_to(out, "persistence_engine = {}\n", quoted(spec.persistence_engine.view()));
  }
  if ((spec.flags & model::kServiceOnePacket) != 0) fmt::format_to(out, "one_packet = true\n");
  write_options(out, service.options);
  for (const auto& server : service.servers) write_server(out, server.spec);
}

}  // namespace

model::ServiceSpec normalized(model::ServiceSpec spec) {
  spec.flags &= kSettable;
  spec.flags_mask = ~0U;
  if ((spec.flags & model::kServicePersistent) == 0) {
    spec.timeout = 0;
    spec.netmask = spec.key.family == net::Family::kIpv6 ? kWholeIpv6Address : kWholeIpv4Address;
  }
  return spec;
}

model::DestinationSpec normalized(model::DestinationSpec spec) {
  if (spec.method == model::ForwardingMethod::kLocalNode ||
      spec.method == model::ForwardingMethod::kBypass) {
    spec.method = model::ForwardingMethod::kDirectRoute;
  }
  if (spec.method != model::ForwardingMethod::kTunnel) spec.tunnel = {};
  if (spec.tunnel.type != model::TunnelType::kGue) spec.tunnel.port = {};
  return spec;
}

Result<DirectorState> read_director(IpvsClient& client) {
  DirectorState state;
  auto services = client.services();
  if (!services) return tl::unexpected(services.error());
  const auto options = client.service_options();
  if (!options) return tl::unexpected(options.error());
  std::reverse(services->begin(), services->end());  // newest first
  std::map<model::ServiceKey, model::ServiceOptions> options_of;
  for (const auto& named : *options) options_of.emplace(named.key, named.options);
  auto all = client.destinations_of(*services);
  for (std::size_t i = 0; i < services->size(); ++i) {
    const auto& service = (*services)[i];
    auto& servers = all[i];
    if (!servers) return tl::unexpected(servers.error());
    std::reverse(servers->begin(), servers->end());
    ServiceState one{.spec = normalized(service.spec), .options = {}, .servers = {}};
    const auto found = options_of.find(service.spec.key);
    if (found != options_of.end()) one.options = found->second;
    for (const auto& server : *servers) one.servers.push_back({.spec = normalized(server.spec)});
    state.services.push_back(std::move(one));
  }
  const auto rules = client.mark_rules();
  if (!rules) return tl::unexpected(rules.error());
  state.mark_rules.emplace();
  for (const auto& info : *rules) state.mark_rules->push_back(info.rule);
  const auto snat_rules = client.snat_rules();
  if (!snat_rules) return tl::unexpected(snat_rules.error());
  state.snat_rules.emplace();
  for (const auto& info : *snat_rules) state.snat_rules->push_back(info.rule);
  auto settings = client.settings();
  if (!settings) return tl::unexpected(settings.error());
  state.settings = *std::move(settings);
  const auto timeouts = client.timeouts();
  if (!timeouts) return tl::unexpected(timeouts.error());
  state.timeouts = *timeouts;
  return state;
}

std::string state_text(const DirectorState& state) {
  std::string text = "# For `sluice apply'.\n";
  const auto out = std::back_inserter(text);
  if (state.mark_rules) {
    fmt::format_to(out, "mark_rules = [{}", state.mark_rules->empty() ? "" : "\n");
    for (const auto& rule : *state.mark_rules) {
      fmt::format_to(out, "  {},\n", quoted(mark_rule_text(rule)));
    }
    fmt::format_to(out, "]\n");
  }
  if (state.snat_rules) {
    fmt::format_to(out, "snat_rules = [{}", state.snat_rules->empty() ? "" : "\n");
    for (const auto& rule : *state.snat_rules) {
      fmt::format_to(out, "  {},\n", quoted(snat_rule_text(rule)));
    }
    fmt::format_to(out, "]\n");
  }
  const auto& [tcp, tcp_fin, udp] = state.timeouts;
  if (state.timeouts != model::Timeouts()) {
    fmt::format_to(out, "\n[timeouts]\n");
    if (tcp != 0) fmt::format_to(out, "tcp = {}\n", tcp);
    if (tcp_fin != 0) fmt::format_to(out, "tcp_fin = {}\n", tcp_fin);
    if (udp != 0) fmt::format_to(out, "udp = {}\n", udp);
  }
  if (!state.settings.empty()) fmt::format_to(out, "\n[settings]\n");
  for (const auto& [name, value] : state.settings) {
    fmt::format_to(out, "{} = {}\n", quoted(name), quoted(value));
  }
  for (const auto& service : state.services) write_service(out, service);
  return text;
}

}  // namespace lb::cli
