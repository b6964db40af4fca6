// SPDX-License-Identifier: Apache-2.0
#include "cli/rules.hpp"

#include <fmt/format.h>

#include <iterator>

#include "cli/address_text.hpp"
#include "cli/scheduler_flags.hpp"

namespace lb::cli {
namespace {

std::string_view service_option(net::Protocol protocol) noexcept {
  switch (protocol) {
    case net::Protocol::kTcp:
      return "-t";
    case net::Protocol::kUdp:
      return "-u";
    case net::Protocol::kSctp:
      return "--sctp-service";
    default:
      return "--xxx-service";  // as ipvsadm writes it; no option reads it
  }
}

std::string service_words(const model::ServiceKey& key, bool numeric) {
  if (key.fwmark != 0) {
    return fmt::format("-f {}{}", static_cast<std::int32_t>(key.fwmark),
                       key.family == net::Family::kIpv6 ? " -6" : "");
  }
  return fmt::format("{} {}", service_option(key.protocol),
                     endpoint_text(key.address, key.port, port_names(key, numeric)));
}

std::string_view forwarding_option(model::ForwardingMethod method) noexcept {
  switch (method) {
    case model::ForwardingMethod::kMasquerade:
      return "-m";
    case model::ForwardingMethod::kTunnel:
      return "-i";
    case model::ForwardingMethod::kLocalNode:
    case model::ForwardingMethod::kDirectRoute:
    case model::ForwardingMethod::kBypass:
      break;
  }
  return "-g";
}

std::string_view checksum_option(std::uint16_t flags) noexcept {
  switch (flags) {
    case model::kTunnelChecksum:
      return " --tun-csum";
    case model::kTunnelRemoteChecksum:
      return " --tun-remcsum";
    default:
      return " --tun-nocsum";
  }
}

std::string tunnel_words(const model::DestinationSpec& spec) {
  if (spec.method != model::ForwardingMethod::kTunnel) return {};
  switch (spec.tunnel.type) {
    case model::TunnelType::kIpip:
      return " --tun-type ipip";
    case model::TunnelType::kGue:
      return fmt::format(" --tun-type gue --tun-port {}{}", spec.tunnel.port.to_host(),
                         checksum_option(spec.tunnel.flags));
    case model::TunnelType::kGre:
      return fmt::format(" --tun-type gre{}", checksum_option(spec.tunnel.flags));
  }
  return {};
}

}  // namespace

std::string service_rule(const model::ServiceSpec& spec, bool numeric) {
  auto text = fmt::format("-A {} -s {}", service_words(spec.key, numeric), spec.scheduler.view());
  const auto out = std::back_inserter(text);
  if ((spec.flags & model::kServicePersistent) != 0) {
    fmt::format_to(out, " -p {}", spec.timeout);
    if (const auto mask = netmask_text(spec)) fmt::format_to(out, " -M {}", *mask);
  }
  if (!spec.persistence_engine.empty()) {
    fmt::format_to(out, " --pe {}", spec.persistence_engine.view());
  }
  if ((spec.flags & model::kServiceOnePacket) != 0) text += " -o";
  if (has_scheduler_flags(spec.flags)) {
    fmt::format_to(out, " -b {}", scheduler_flags_text(spec.scheduler.view(), spec.flags));
  }
  return text + '\n';
}

std::string destination_rule(const model::ServiceKey& service, const model::DestinationSpec& spec,
                             bool numeric) {
  return fmt::format("-a {} -r {} {} -w {}{}\n", service_words(service, numeric),
                     endpoint_text(spec.address, spec.port, port_names(service, numeric)),
                     forwarding_option(spec.method), spec.weight, tunnel_words(spec));
}

std::string whole_destination_rule(const model::ServiceKey& service,
                                   const model::DestinationSpec& spec) {
  auto text = destination_rule(service, spec, true);
  text.pop_back();
  const auto out = std::back_inserter(text);
  if (spec.upper_threshold != 0) fmt::format_to(out, " -x {}", spec.upper_threshold);
  if (spec.lower_threshold != 0) fmt::format_to(out, " -y {}", spec.lower_threshold);
  return text + '\n';
}

std::vector<std::string> rule_words(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r";
  std::vector<std::string> words;
  while (true) {
    const auto start = line.find_first_not_of(kBlanks);
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    const auto word = line.substr(0, line.find_first_of(kBlanks));
    line.remove_prefix(word.size());
    if (word != "ipvsadm") words.emplace_back(word);
  }
}

}  // namespace lb::cli
