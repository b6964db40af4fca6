// SPDX-License-Identifier: Apache-2.0
#include "cli/listing.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <optional>

#include "cli/address_text.hpp"
#include "cli/rules.hpp"
#include "cli/scheduler_flags.hpp"
#include "net/protocol_name.hpp"

namespace lb::cli {
namespace {

constexpr std::uint32_t kWholeIpv4Address = 0xffffffff;
constexpr std::uint32_t kWholeIpv6Address = 128;

/// A counter in nine columns: in full up to eight digits, then in thousands, millions, ...
std::string counter_text(std::uint64_t value, bool exact) {
  constexpr std::uint64_t kMega = 1000 * 1000;
  if (exact || value < 100 * kMega) return fmt::format(" {:>8}", value);
  if (value < 1000 * kMega) return fmt::format("{:>8}K", value / 1000);
  if (value < 100 * 1000 * kMega) return fmt::format("{:>8}M", value / kMega);
  if (value < 100 * kMega * kMega) return fmt::format("{:>8}G", value / kMega / 1000);
  return fmt::format("{:>8}T", value / kMega / kMega);
}

/// Five columns of `group`. The first `in_full` are never abbreviated.
template <class Group>
std::string counters_text(const Group& group, bool exact, std::size_t in_full) {
  const std::array values = {group.connections, group.packets_in, group.packets_out, group.bytes_in,
                             group.bytes_out};
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) {
    text += counter_text(values[i], exact || i < in_full);
  }
  return text + '\n';
}

/// ipvsadm abbreviates a destination's rates only where they are of bytes.
constexpr std::size_t kDestinationRatesInFull = 3;

bool shows_counters(const Format& format) noexcept {
  return format.kind == TableKind::kStats || format.kind == TableKind::kRate;
}

std::string service_name(const model::ServiceKey& key, const Format& format) {
  if (key.fwmark != 0) {
    // ipvsadm shows a mark as a signed number.
    return fmt::format("FWM  {}{}", static_cast<std::int32_t>(key.fwmark),
                       key.family == net::Family::kIpv6 ? " IPv6" : "");
  }
  return fmt::format("{:<4} {}", net::listed_name(key.protocol, "?"),
                     endpoint_text(key.address, key.port, port_names(key, format.numeric)));
}

std::string_view forwarding_text(model::ForwardingMethod method) noexcept {
  switch (method) {
    case model::ForwardingMethod::kMasquerade:
      return "Masq";
    case model::ForwardingMethod::kLocalNode:
      return "Local";
    case model::ForwardingMethod::kTunnel:
      return "Tunnel";
    case model::ForwardingMethod::kDirectRoute:
      return "Route";
    case model::ForwardingMethod::kBypass:
      break;
  }
  return "(null)";  // what ipvsadm prints for a method that it has no name for
}

std::string_view checksum_text(std::uint16_t flags) noexcept {
  switch (flags) {
    case model::kTunnelNoChecksum:
      return "-c";
    case model::kTunnelChecksum:
      return "+c";
    case model::kTunnelRemoteChecksum:
      return "r+c";
    default:
      return "(null)";
  }
}

std::string tunnel_text(const model::DestinationSpec& spec) {
  if (spec.method != model::ForwardingMethod::kTunnel) return "n/a";
  switch (spec.tunnel.type) {
    case model::TunnelType::kIpip:
      return "ipip";
    case model::TunnelType::kGue:
      return fmt::format("gue:{}:{}", spec.tunnel.port.to_host(), checksum_text(spec.tunnel.flags));
    case model::TunnelType::kGre:
      return fmt::format("gre:{}", checksum_text(spec.tunnel.flags));
  }
  return "n/a";
}

}  // namespace

std::optional<std::string> netmask_text(const model::ServiceSpec& spec) {
  if (spec.key.family == net::Family::kIpv6) {
    if (spec.netmask == kWholeIpv6Address) return std::nullopt;
    return std::to_string(spec.netmask);
  }
  if (spec.netmask == kWholeIpv4Address) return std::nullopt;
  return net::IpAddress::v4(net::Be32::from_network(spec.netmask)).to_text();
}

std::optional<net::Protocol> port_names(const model::ServiceKey& key, bool numeric) noexcept {
  // A mark service has no protocol to look a port up by.
  if (numeric || key.fwmark != 0) return std::nullopt;
  return key.protocol;
}

Format format_of(const OptionSet& options) {
  Format format;
  format.numeric = options.has(Option::kNumeric);
  format.exact = options.has(Option::kExact);
  format.sorted = !options.has(Option::kNoSort);
  constexpr std::array kKinds = {std::pair{Option::kStats, TableKind::kStats},
                                 std::pair{Option::kRate, TableKind::kRate},
                                 std::pair{Option::kThresholds, TableKind::kThresholds},
                                 std::pair{Option::kPersistentConn, TableKind::kPersistentConn},
                                 std::pair{Option::kTunnelInfo, TableKind::kTunnelInfo}};
  for (const auto& [option, kind] : kKinds) {
    if (options.has(option)) {
      format.kind = kind;
      break;
    }
  }
  return format;
}

std::string version_text(std::uint32_t version) {
  return fmt::format("{}.{}.{}", (version >> 16) & 0xff, (version >> 8) & 0xff, version & 0xff);
}

std::string banner_text(const wire::DirectorInfo& info) {
  return fmt::format("IP Virtual Server version {} (size={})\n", version_text(info.version),
                     info.table_size);
}

std::string header_text(const Format& format) {
  switch (format.kind) {
    case TableKind::kStats:
      return "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n"
             "  -> RemoteAddress:Port\n";
    case TableKind::kRate:
      return "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n"
             "  -> RemoteAddress:Port\n";
    case TableKind::kThresholds:
      return "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n"
             "  -> RemoteAddress:Port\n";
    case TableKind::kPersistentConn:
      return "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n"
             "  -> RemoteAddress:Port\n";
    case TableKind::kTunnelInfo:
      return "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn "
             "InActConn\n";
    case TableKind::kPlain:
      return "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    case TableKind::kRules:
      break;
  }
  return {};
}

std::string service_text(const model::ServiceInfo& service, const Format& format) {
  const auto& spec = service.spec;
  if (format.kind == TableKind::kRules) return service_rule(spec, format.numeric);
  auto text = service_name(spec.key, format);
  if (shows_counters(format)) {
    const auto& [counters, rates] = service.statistics;
    return fmt::format("{:<33}{}", text,
                       format.kind == TableKind::kStats ? counters_text(counters, format.exact, 0)
                                                        : counters_text(rates, format.exact, 0));
  }
  const auto out = std::back_inserter(text);
  fmt::format_to(out, " {}", spec.scheduler.view());
  if (has_scheduler_flags(spec.flags)) {
    fmt::format_to(out, " ({})", scheduler_flags_text(spec.scheduler.view(), spec.flags));
  }
  if ((spec.flags & model::kServicePersistent) != 0) {
    fmt::format_to(out, " persistent {}", spec.timeout);
    if (const auto mask = netmask_text(spec)) fmt::format_to(out, " mask {}", *mask);
    if (!spec.persistence_engine.empty()) {
      fmt::format_to(out, " pe {}", spec.persistence_engine.view());
    }
  }
  if ((spec.flags & model::kServiceOnePacket) != 0) text += " ops";
  return text + '\n';
}

std::string destination_text(const model::ServiceKey& service,
                             const model::DestinationInfo& destination, const Format& format) {
  const auto& spec = destination.spec;
  if (format.kind == TableKind::kRules) return destination_rule(service, spec, format.numeric);
  const auto name = fmt::format(
      "  -> {:<28}", endpoint_text(spec.address, spec.port, port_names(service, format.numeric)));
  const auto connections = fmt::format("{:<10} {:<10}\n", destination.active_connections,
                                       destination.inactive_connections);
  switch (format.kind) {
    case TableKind::kStats:
      return name + counters_text(destination.statistics.counters, format.exact, 0);
    case TableKind::kRate:
      return name +
             counters_text(destination.statistics.rates, format.exact, kDestinationRatesInFull);
    case TableKind::kThresholds:
      return fmt::format("{} {:<10} {:<10} {}", name, spec.upper_threshold, spec.lower_threshold,
                         connections);
    case TableKind::kPersistentConn:
      return fmt::format("{} {:<9} {:<11} {}", name, static_cast<std::uint32_t>(spec.weight),
                         destination.persistent_connections, connections);
    case TableKind::kTunnelInfo:
      return fmt::format("{} {:<7} {:<13} {:<6} {}", name, forwarding_text(spec.method),
                         tunnel_text(spec), spec.weight, connections);
    case TableKind::kPlain:
    case TableKind::kRules:
      break;
  }
  return fmt::format("{} {:<7} {:<6} {}", name, forwarding_text(spec.method), spec.weight,
                     connections);
}

std::string connections_text(std::span<const model::ConnectionInfo> connections,
                             const OptionSet& options, bool with_snat) {
  std::string text =
      "IPVS connection entries\n"
      "pro expire state       source             virtual            destination";
  const bool with_engine = options.has(Option::kPersistentConn);
  text += with_engine ? "        pe name          pe_data\n" : "\n";
  const bool numeric = options.has(Option::kNumeric);
  for (const auto& connection : connections) {
    const auto names = numeric ? std::nullopt : std::optional(connection.protocol);
    const auto end = [&](const net::Endpoint& endpoint) {
      return endpoint_text(endpoint.address, endpoint.port, names);
    };
    // The connection table calls protocol 0 (of a mark's template) IP.
    const auto protocol = connection.protocol == net::Protocol::kIp
                              ? std::string_view("IP")
                              : net::listed_name(connection.protocol, "?");
    const auto out = std::back_inserter(text);
    fmt::format_to(
        out, "{:<3} {:<6} {:<11} {:<18} {:<18} ", protocol,
        fmt::format("{:02}:{:02}", connection.expires_in / 60, connection.expires_in % 60),
        connection.state.view(), end(connection.client), end(connection.virtual_end));
    if (with_engine && !connection.persistence_engine.empty()) {
      fmt::format_to(out, "{:<16} {:<18} {}\n", end(connection.destination),
                     connection.persistence_engine.view(), connection.persistence_data);
    } else if (with_snat && !connection.snat_rule.empty()) {
      fmt::format_to(out, "{:<18} snat {}\n", end(connection.destination),
                     connection.snat_rule.view());
    } else {
      fmt::format_to(out, "{}\n", end(connection.destination));
    }
  }
  return text;
}

std::string timeouts_text(const model::Timeouts& timeouts) {
  // Signed, as ipvsadm prints them.
  return fmt::format(
      "Timeout (tcp tcpfin udp): {} {} {}\n", static_cast<std::int32_t>(timeouts.tcp),
      static_cast<std::int32_t>(timeouts.tcp_fin), static_cast<std::int32_t>(timeouts.udp));
}

std::string daemons_text(std::span<const model::SyncDaemonSpec> daemons) {
  std::string text;
  for (const auto& daemon : daemons) {
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "{} sync daemon (mcast={}, syncid={}",
                   daemon.role == model::SyncRole::kMaster ? "master" : "backup",
                   daemon.interface.view(), daemon.sync_id);
    if (daemon.max_length != 0) fmt::format_to(out, ", maxlen={}", daemon.max_length);
    if (!daemon.group.is_unspecified()) fmt::format_to(out, ", group={}", daemon.group.to_text());
    if (daemon.port != 0) fmt::format_to(out, ", port={}", daemon.port);
    if (daemon.ttl != 0) fmt::format_to(out, ", ttl={}", daemon.ttl);
    text += ")\n";
  }
  return text;
}

}  // namespace lb::cli
