// SPDX-License-Identifier: Apache-2.0
#include "control/proc_files.hpp"

#include <fmt/format.h>

#include <iterator>

namespace lb::control {
namespace {

// The file shows persistence timeouts in ticks of the recorded kernel.
constexpr std::uint64_t kTicksPerSecond = 100;

std::string address_text(const net::IpAddress& address) {
  if (address.is_v4()) return fmt::format("{:08X}", address.word(0).to_host());
  std::string text = "[";
  for (std::size_t i = 0; i < 16; i += 2) {
    if (i != 0) text += ':';
    fmt::format_to(std::back_inserter(text), "{:02x}{:02x}", address.bytes()[i],
                   address.bytes()[i + 1]);
  }
  return text + "]";
}

std::string_view protocol_text(net::Protocol protocol) {
  switch (protocol) {
    case net::Protocol::kTcp:
      return "TCP";
    case net::Protocol::kUdp:
      return "UDP";
    case net::Protocol::kSctp:
      return "SCTP";
    default:
      return "IP";
  }
}

std::string_view method_text(model::ForwardingMethod method) {
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
      return "Bypass";
  }
  return "";
}

std::string service_line(const model::ServiceSpec& spec) {
  const auto& key = spec.key;
  const std::string_view ops = (spec.flags & model::kServiceOnePacket) != 0 ? "ops " : "";
  std::string line;
  if (key.fwmark != 0) {
    line = fmt::format("FWM  {:08X} {} {}", key.fwmark, spec.scheduler.view(), ops);
  } else if (key.family == net::Family::kIpv6) {
    line = fmt::format("{}  {}:{:04X} {} ", protocol_text(key.protocol), address_text(key.address),
                       key.port.to_host(), spec.scheduler.view());
  } else {
    line = fmt::format("{}  {}:{:04X} {} {} ", protocol_text(key.protocol),
                       address_text(key.address), key.port.to_host(), spec.scheduler.view(), ops);
  }
  if ((spec.flags & model::kServicePersistent) != 0) {
    const auto mask = net::Be32::from_network(spec.netmask).to_host();
    line += fmt::format("persistent {} {:08X}", spec.timeout * kTicksPerSecond, mask);
  }
  return line + "\n";
}

std::string table(const engine::Director& director) {
  auto text = fmt::format(
      "IP Virtual Server version 1.2.1 (size={})\n"
      "Prot LocalAddress:Port Scheduler Flags\n"
      "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
      director.shown_table_size());
  for (const auto& service : director.services()) {
    text += service_line(service.spec);
    for (const auto& destination : director.destinations(service.spec.key)) {
      fmt::format_to(std::back_inserter(text), "  -> {}:{:04X}      {:<7} {:<6} {:<10} {:<10}\n",
                     address_text(destination.spec.address), destination.spec.port.to_host(),
                     method_text(destination.spec.method), destination.spec.weight,
                     destination.active_connections, destination.inactive_connections);
    }
  }
  return text;
}

std::string totals(const engine::Director& director) {
  const auto [counters, rates] = director.totals();
  const auto row = [](const auto& values) {
    return fmt::format("{:8X} {:8X} {:8X} {:16X} {:16X}\n", values.connections, values.packets_in,
                       values.packets_out, values.bytes_in, values.bytes_out);
  };
  return "   Total Incoming Outgoing         Incoming         Outgoing\n"
         "   Conns  Packets  Packets            Bytes            Bytes\n" +
         row(counters) +
         "\n"
         " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n" +
         row(rates);
}

}  // namespace

std::optional<std::string> proc_file(const engine::Director& director, std::string_view path) {
  if (path == "/proc/net/ip_vs") return table(director);
  if (path == "/proc/net/ip_vs_stats") return totals(director);
  return std::nullopt;
}

}  // namespace lb::control
