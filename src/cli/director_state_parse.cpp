// SPDX-License-Identifier: Apache-2.0
// The reader of the file of `sluice apply`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <functional>
#include <initializer_list>
#include <set>
#include <utility>

#include "cli/address_text.hpp"
#include "cli/director_state.hpp"
#include "cli/mark_text.hpp"
#include "cli/scheduler_flags.hpp"
#include "cli/snat_text.hpp"
#include "cli/toml_values.hpp"

namespace lb::cli {
namespace {

using Outcome = TomlValues::Outcome;
constexpr std::uint32_t kMaxSeconds = 31 * 86400;

Place place_of(const toml::source_region& region) {
  return {.line = region.begin.line, .column = region.begin.column};
}

class Reader : public TomlValues {
 public:
  using TomlValues::TomlValues;

  [[nodiscard]] tl::expected<DirectorState, std::string> read(const toml::table& table) {
    DirectorState state;
    for (const auto& [key, node] : table) {
      if (auto done = top(key, node, state); !done) return tl::unexpected(done.error());
    }
    return state;
  }

 private:
  [[nodiscard]] Outcome address(const toml::key& key, const toml::node& node,
                                net::Protocol protocol, AddressText& out) const {
    std::string written;
    if (auto done = text(key, node, written); !done) return done;
    if (const auto bare = net::IpAddress::from_text(written)) {
      out = {.address = *bare, .port = std::nullopt};
      return {};
    }
    // No host names: the same file must mean the same everywhere.
    const auto parsed = written.find_first_not_of("0123456789abcdefABCDEF.:[]") == std::string::npos
                            ? parse_address(written, protocol)
                            : std::nullopt;
    if (!parsed) return wrong(key, node, fmt::format("`{}' is no ADDRESS:PORT", written));
    out = *parsed;
    return {};
  }

  [[nodiscard]] Outcome top(const toml::key& key, const toml::node& node, DirectorState& state);
  [[nodiscard]] Outcome timeouts(const toml::key& key, const toml::node& node,
                                 model::Timeouts& out) const;
  [[nodiscard]] Outcome settings(const toml::key& key, const toml::node& node,
                                 std::vector<wire::Setting>& out) const;
  /// Hands each rule of a list to `take`, with the node where it stands.
  template <class Parse, class Take>
  [[nodiscard]] Outcome rules(const toml::key& key, const toml::node& node, Parse parse,
                              Take take) const;
  [[nodiscard]] Outcome mark_rules(const toml::key& key, const toml::node& node,
                                   DirectorState& state) const;
  [[nodiscard]] Outcome snat_rules(const toml::key& key, const toml::node& node,
                                   DirectorState& state) const;
  [[nodiscard]] Outcome services(const toml::key& key, const toml::node& node,
                                 DirectorState& state) const;
  [[nodiscard]] Outcome service(const toml::table& table, ServiceState& out) const;
  [[nodiscard]] Outcome service_key(const toml::table& table, model::ServiceKey& out) const;
  [[nodiscard]] Outcome service_entry(const toml::key& key, const toml::node& node,
                                      ServiceState& out) const;
  [[nodiscard]] Outcome netmask(const toml::key& key, const toml::node& node,
                                model::ServiceSpec& spec) const;
  [[nodiscard]] Outcome option(const toml::key& key, const toml::node& node,
                               model::ServiceOptions& out) const;
  [[nodiscard]] Outcome servers(const toml::key& key, const toml::node& node,
                                ServiceState& out) const;
  [[nodiscard]] Outcome server(const toml::table& table, const model::ServiceKey& key,
                               ServerState& out) const;
  [[nodiscard]] Outcome server_entry(const toml::key& key, const toml::node& node,
                                     model::DestinationSpec& out) const;
};

Outcome Reader::top(const toml::key& key, const toml::node& node, DirectorState& state) {
  const std::string_view which = key.str();
  if (which == "timeouts") return timeouts(key, node, state.timeouts);
  if (which == "settings") return settings(key, node, state.settings);
  if (which == "mark_rules") return mark_rules(key, node, state);
  if (which == "snat_rules") return snat_rules(key, node, state);
  if (which == "service") return services(key, node, state);
  return unknown(key, "service, mark_rules, snat_rules, timeouts, settings");
}

Outcome Reader::timeouts(const toml::key& key, const toml::node& node, model::Timeouts& out) const {
  const auto* table = node.as_table();
  if (table == nullptr) return wrong(key, node, "must be a table");
  for (const auto& [name, value] : *table) {
    auto* const field = name.str() == "tcp"       ? &out.tcp
                        : name.str() == "tcp_fin" ? &out.tcp_fin
                        : name.str() == "udp"     ? &out.udp
                                                  : nullptr;
    if (field == nullptr) return unknown(name, "tcp, tcp_fin, udp");
    if (auto done = number(name, value, 1, kMaxSeconds, *field); !done) return done;
  }
  return {};
}

Outcome Reader::settings(const toml::key& key, const toml::node& node,
                         std::vector<wire::Setting>& out) const {
  const auto* table = node.as_table();
  if (table == nullptr) return wrong(key, node, "must be a table");
  for (const auto& [name, value] : *table) {
    wire::Setting setting{.name = std::string(name.str()), .value = {}};
    if (setting.name.find('.') == std::string::npos) setting.name.insert(0, "net.ipv4.vs.");
    if (const auto* as_number = value.as_integer()) {
      setting.value = std::to_string(as_number->get());
    } else if (const auto* as_text = value.as_string()) {
      // Two numbers, as the director writes them.
      setting.value = as_text->get();
      std::replace(setting.value.begin(), setting.value.end(), ' ', '\t');
    } else {
      return wrong(name, value, "must be an integer or a string");
    }
    out.push_back(std::move(setting));
  }
  return {};
}

template <class Parse, class Take>
Outcome Reader::rules(const toml::key& key, const toml::node& node, Parse parse, Take take) const {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong(key, node, "must be an array of rules");
  for (const auto& element : *list) {
    const auto* value = element.as_string();
    if (value == nullptr) return wrong(key, element, "a rule must be a string");
    const auto words = split_words(value->get());
    if (!words) return wrong(key, element, words.error());
    const auto rule = parse(*words);
    if (!rule) return wrong(key, element, rule.error());
    if (auto done = take(*rule, element); !done) return done;
  }
  return {};
}

Outcome Reader::mark_rules(const toml::key& key, const toml::node& node,
                           DirectorState& state) const {
  auto& all = state.mark_rules.emplace();
  state.mark_rules_place = place_of(node.source());
  return rules(
      key, node, [](const auto& words) { return parse_mark_rule(words); },
      [&](const model::MarkRule& rule, const toml::node&) -> Outcome {
        all.push_back(rule);
        return {};
      });
}

Outcome Reader::snat_rules(const toml::key& key, const toml::node& node,
                           DirectorState& state) const {
  auto& all = state.snat_rules.emplace();
  state.snat_rules_place = place_of(node.source());
  return rules(key, node, parse_snat_rule,
               [&](const model::SnatRule& rule, const toml::node& element) -> Outcome {
                 const bool is_double = std::any_of(all.begin(), all.end(), [&](const auto& other) {
                   return other.name == rule.name;
                 });
                 if (is_double) {
                   return wrong(key, element, "a rule of this name stands here twice");
                 }
                 all.push_back(rule);
                 state.snat_places.push_back(place_of(element.source()));
                 return {};
               });
}

Outcome Reader::services(const toml::key& key, const toml::node& node, DirectorState& state) const {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong(key, node, "must be an array of tables: [[service]]");
  std::set<model::ServiceKey> keys;
  for (const auto& element : *list) {
    const auto* table = element.as_table();
    if (table == nullptr) return wrong(key, element, "must be a table: [[service]]");
    ServiceState one;
    one.place = place_of(table->source());
    if (auto done = service(*table, one); !done) return done;
    if (!keys.insert(one.spec.key).second)
      return wrong(key, element, "this service stands here twice");
    state.services.push_back(std::move(one));
  }
  return {};
}

Outcome Reader::service_key(const toml::table& table, model::ServiceKey& out) const {
  std::size_t names = 0;
  constexpr std::array kProtocols = {std::pair{"tcp", net::Protocol::kTcp},
                                     std::pair{"udp", net::Protocol::kUdp},
                                     std::pair{"sctp", net::Protocol::kSctp}};
  for (const auto& [key, node] : table) {
    for (const auto& [word, protocol] : kProtocols) {
      if (key.str() != word) continue;
      ++names;
      AddressText at;
      if (auto done = address(key, node, protocol, at); !done) return done;
      if (!at.port) return wrong(key, node, "a port is needed (0: all ports)");
      out.protocol = protocol;
      out.family = at.address.family();
      out.address = at.address;
      out.port = *at.port;
    }
    if (key.str() != "fwmark") continue;
    ++names;
    if (auto done = number(key, node, 1, UINT32_MAX, out.fwmark); !done) return done;
  }
  if (names != 1) {
    return error(table.source(), "service: needs one of tcp, udp, sctp, fwmark to name it");
  }
  const auto* ipv6 = table.get("ipv6");
  if (ipv6 == nullptr) return {};
  if (!ipv6->is_boolean() || out.fwmark == 0) {
    return error(ipv6->source(), "ipv6: is true or false, and only for services by fwmark");
  }
  out.family = ipv6->as_boolean()->get() ? net::Family::kIpv6 : net::Family::kIpv4;
  out.address = net::IpAddress::any(out.family);
  return {};
}

Outcome Reader::service(const toml::table& table, ServiceState& out) const {
  if (auto done = service_key(table, out.spec.key); !done) return done;
  out.spec = normalized(out.spec);
  for (const auto& [key, node] : table) {
    if (auto done = service_entry(key, node, out); !done) return done;
  }
  // Behind all others, as they need to know what the service is.
  if (const auto* mask = table.get("netmask")) {
    if ((out.spec.flags & model::kServicePersistent) == 0) {
      return error(mask->source(), "netmask: only for persistent services");
    }
  }
  return {};
}

Outcome Reader::service_entry(const toml::key& key, const toml::node& node,
                              ServiceState& out) const {
  const std::string_view which = key.str();
  auto& spec = out.spec;
  if (which == "tcp" || which == "udp" || which == "sctp" || which == "fwmark" || which == "ipv6") {
    return {};
  }
  if (which == "scheduler") return name(key, node, spec.scheduler);
  if (which == "persistence_engine") return name(key, node, spec.persistence_engine);
  if (which == "netmask") return netmask(key, node, spec);
  if (which == "server") return servers(key, node, out);
  if (which == "persistent") {
    spec.flags |= model::kServicePersistent;
    return number(key, node, 1, kMaxSeconds, spec.timeout);
  }
  if (which == "one_packet") {
    bool is_set = false;
    if (auto done = flag(key, node, is_set); !done) return done;
    if (is_set) spec.flags |= model::kServiceOnePacket;
    return {};
  }
  if (which == "scheduler_flags") {
    std::string written;
    if (auto done = text(key, node, written); !done) return done;
    const auto flags = parse_scheduler_flags(spec.scheduler.view(), written);
    if (!flags) return wrong(key, node, fmt::format("`{}' are no flags of it", written));
    spec.flags |= *flags;
    return {};
  }
  return option(key, node, out.options);
}

Outcome Reader::netmask(const toml::key& key, const toml::node& node,
                        model::ServiceSpec& spec) const {
  std::string written;
  if (auto done = text(key, node, written); !done) return done;
  if (spec.key.family == net::Family::kIpv6) {
    const auto length = parse_number(written, 1, 128);
    if (!length) return wrong(key, node, "must be a prefix length from \"1\" to \"128\"");
    spec.netmask = static_cast<std::uint32_t>(*length);
    return {};
  }
  const auto mask = net::IpAddress::from_text(written);
  if (!mask || !mask->is_v4()) return wrong(key, node, "must be a mask as \"255.255.255.0\"");
  spec.netmask = mask->word(0).to_network();
  return {};
}

Outcome Reader::option(const toml::key& key, const toml::node& node,
                       model::ServiceOptions& out) const {
  const std::string_view which = key.str();
  if (which == "drain") {
    if (const auto* word = node.as_string(); word != nullptr && word->get() == "off") {
      out.drain = model::ServiceOptions::kNoDrain;
      return {};
    }
    out.drain.emplace();
    return number(key, node, 0, model::ServiceOptions::kMaxDrain, *out.drain);
  }
  if (which == "drain_end") {
    const auto end = word(key, node, {"keep", "reschedule", "reset"});
    if (!end) return tl::unexpected(end.error());
    out.drain_end = static_cast<model::DrainEnd>(*end);
    return {};
  }
  if (which == "reuse_ports") {
    out.reuse_ports.emplace();
    return flag(key, node, *out.reuse_ports);
  }
  if (which == "timeout_tcp") return number(key, node, 1, kMaxSeconds, out.timeouts.tcp);
  if (which == "timeout_tcp_fin") return number(key, node, 1, kMaxSeconds, out.timeouts.tcp_fin);
  if (which == "timeout_udp") return number(key, node, 1, kMaxSeconds, out.timeouts.udp);
  return unknown(key,
                 "tcp, udp, sctp, fwmark, ipv6, scheduler, scheduler_flags, persistent, netmask, "
                 "persistence_engine, one_packet, drain, drain_end, reuse_ports, timeout_tcp, "
                 "timeout_tcp_fin, timeout_udp, server");
}

Outcome Reader::servers(const toml::key& key, const toml::node& node, ServiceState& out) const {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong(key, node, "must be an array of tables: [[service.server]]");
  for (const auto& element : *list) {
    const auto* table = element.as_table();
    if (table == nullptr) return wrong(key, element, "must be a table: [[service.server]]");
    ServerState one{.spec = {}, .place = place_of(table->source())};
    if (auto done = server(*table, out.spec.key, one); !done) return done;
    const bool is_double =
        std::any_of(out.servers.begin(), out.servers.end(), [&](const auto& other) {
          return other.spec.address == one.spec.address && other.spec.port == one.spec.port;
        });
    if (is_double) return wrong(key, element, "this server stands here twice");
    out.servers.push_back(std::move(one));
  }
  return {};
}

Outcome Reader::server(const toml::table& table, const model::ServiceKey& key,
                       ServerState& out) const {
  const auto* at = table.get("address");
  if (at == nullptr) return error(table.source(), "server: needs an address");
  for (const auto& [name, node] : table) {
    if (name.str() == "address") {
      AddressText parsed;
      if (auto done = address(name, node, key.protocol, parsed); !done) return done;
      out.spec.address = parsed.address;
      out.spec.port = parsed.port.value_or(key.port);
    } else if (auto done = server_entry(name, node, out.spec); !done) {
      return done;
    }
  }
  auto& spec = out.spec;
  const bool keeps_port = spec.method != model::ForwardingMethod::kMasquerade;
  if (keeps_port && key.fwmark == 0 && spec.port != key.port) {
    return error(at->source(), "address: only masquerading changes the port");
  }
  const bool is_tunnel = spec.method == model::ForwardingMethod::kTunnel;
  if (!is_tunnel && spec.tunnel != model::TunnelSpec()) {
    return error(table.source(), "server: tunnel options need forward = \"tunnel\"");
  }
  if (is_tunnel &&
      (spec.tunnel.type == model::TunnelType::kGue) != (spec.tunnel.port != net::Port{})) {
    return error(table.source(), "server: a tunnel of type gue, and no other, needs a tunnel_port");
  }
  if (!is_tunnel && spec.address.family() != key.family) {
    return error(at->source(), "address: only a tunnel may lead to the other address family");
  }
  return {};
}

Outcome Reader::server_entry(const toml::key& key, const toml::node& node,
                             model::DestinationSpec& out) const {
  const std::string_view which = key.str();
  if (which == "weight") return number(key, node, 0, INT_MAX, out.weight);
  if (which == "upper_threshold") return number(key, node, 0, INT_MAX, out.upper_threshold);
  if (which == "lower_threshold") return number(key, node, 0, INT_MAX, out.lower_threshold);
  if (which == "tunnel_port") {
    std::uint16_t port = 0;
    auto done = number(key, node, 1, UINT16_MAX, port);
    out.tunnel.port = net::Port::from_host(port);
    return done;
  }
  const auto choose = [&](std::initializer_list<std::string_view> words,
                          const std::function<void(std::size_t)>& take) -> Outcome {
    const auto chosen = word(key, node, words);
    if (!chosen) return tl::unexpected(chosen.error());
    take(*chosen);
    return {};
  };
  if (which == "forward") {
    return choose({"masquerading", "direct", "tunnel"}, [&](std::size_t chosen) {
      constexpr std::array kMethods = {model::ForwardingMethod::kMasquerade,
                                       model::ForwardingMethod::kDirectRoute,
                                       model::ForwardingMethod::kTunnel};
      out.method = kMethods[chosen];
    });
  }
  if (which == "tunnel") {
    return choose({"ipip", "gue", "gre"}, [&](std::size_t chosen) {
      out.tunnel.type = static_cast<model::TunnelType>(chosen);
    });
  }
  if (which == "tunnel_checksum") {
    return choose({"none", "plain", "remote"}, [&](std::size_t chosen) {
      out.tunnel.flags = static_cast<std::uint16_t>(chosen);
    });
  }
  return unknown(key,
                 "address, forward, weight, upper_threshold, lower_threshold, tunnel, tunnel_port, "
                 "tunnel_checksum");
}

}  // namespace

tl::expected<DirectorState, std::string> parse_state(std::string_view text, std::string_view name) {
  Reader reader(name);
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) return reader.error(parsed.error().source(), parsed.error().description());
  return reader.read(parsed.table());
}

}  // namespace lb::cli
