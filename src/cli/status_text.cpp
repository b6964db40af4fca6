// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/address_text.hpp"
#include "cli/snat_text.hpp"
#include "cli/status.hpp"
#include "net/protocol_name.hpp"

namespace lb::cli {
namespace {

constexpr std::size_t kShownServices = 20;  // a screen

std::string_view state_word(State state) {
  switch (state) {
    case State::kOk:
      return "OK";
    case State::kWarning:
      return "WARNING";
    case State::kCritical:
      return "CRITICAL";
    case State::kUnknown:
      break;
  }
  return "UNKNOWN";
}

std::string uptime_text(std::uint64_t seconds) {
  return fmt::format("{}d {:02}:{:02}:{:02}", seconds / 86400, seconds / 3600 % 24,
                     seconds / 60 % 60, seconds % 60);
}

std::string endpoint(const net::IpAddress& address, net::Port port) {
  const auto text = address.to_text();
  return address.is_v4() ? fmt::format("{}:{}", text, port.to_host())
                         : fmt::format("[{}]:{}", text, port.to_host());
}

std::string service_name(const model::ServiceKey& key) {
  if (key.fwmark != 0) {
    return fmt::format("FWM {}{}", key.fwmark, key.family == net::Family::kIpv6 ? " IPv6" : "");
  }
  return fmt::format("{} {}", net::listed_name(key.protocol, "IP"),
                     endpoint(key.address, key.port));
}

std::string stand_in_text(const StandIn& stand_in) {
  std::string text =
      stand_in.is_active ? "XDP decides about new flows by itself now" : "not needed";
  if (stand_in.is_active && stand_in.is_table_full) text += ", the table is nearly full";
  if (stand_in.times != 0) {
    text +=
        fmt::format("; {} time{} since the start", stand_in.times, stand_in.times == 1 ? "" : "s");
  }
  if (stand_in.packets != 0) text += fmt::format("; {} packets sent by tables", stand_in.packets);
  if (stand_in.dropped != 0) text += fmt::format("; {} new connections dropped", stand_in.dropped);
  return text;
}

std::string sync_text(const model::SyncDaemonSpec& daemon) {
  return fmt::format("{} on {}, id {}",
                     daemon.role == model::SyncRole::kMaster ? "master" : "backup",
                     daemon.interface.view(), daemon.sync_id);
}

/// The counters, one a line; those that are zero only if `all`.
void append_counters(std::string& text, std::span<const wire::NamedCounter> counters, bool all) {
  for (const auto& counter : counters) {
    if (!all && counter.value == 0) continue;
    fmt::format_to(std::back_inserter(text), "  {:<28} {:>20}\n", counter.name, counter.value);
  }
}

void append_services(std::string& text, const Overview& overview, bool all) {
  const auto out = std::back_inserter(text);
  std::size_t servers = 0;
  std::size_t up = 0;
  for (const auto& service : overview.services) {
    servers += service.servers.size();
    up += service.up();
  }
  fmt::format_to(out, "services {}, servers {}: {} up, {} quiescent (weight 0)\n",
                 overview.services.size(), servers, up, servers - up);
  if (overview.services.empty()) return;
  fmt::format_to(out, "  {:<34} {:>4} {:>6} {:>9} {:>11} {:>8} {:>9}\n", "", "up", "quiet",
                 "active", "inactive", "conns/s", "pkts/s");
  // Those without a server first: they must not be cut off.
  std::vector<const Overview::Service*> order;
  for (const auto& service : overview.services) order.push_back(&service);
  std::stable_partition(order.begin(), order.end(),
                        [](const auto* service) { return service->up() == 0; });
  const auto shown = all ? order.size() : std::min(order.size(), kShownServices);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& service = *order[i];
    std::uint64_t active = 0;
    std::uint64_t inactive = 0;
    for (const auto& server : service.servers) {
      active += server.active_connections;
      inactive += server.inactive_connections;
    }
    const auto& rates = service.info.statistics.rates;
    fmt::format_to(out, "  {:<34} {:>4} {:>6} {:>9} {:>11} {:>8} {:>9}{}\n",
                   service_name(service.info.spec.key), service.up(),
                   service.servers.size() - service.up(), active, inactive, rates.connections,
                   rates.packets_in + rates.packets_out, service.up() == 0 ? "  NO SERVER" : "");
  }
  if (shown < order.size()) {
    fmt::format_to(out, "  ... and {} more (--all)\n", order.size() - shown);
  }
}

std::uint64_t refused(const model::SnatRuleInfo& info) {
  return info.refused_pool + info.refused_limit + info.refused_table;
}

void append_snat(std::string& text, const std::vector<model::SnatRuleInfo>& rules, bool all) {
  if (rules.empty()) return;
  const auto out = std::back_inserter(text);
  std::uint64_t clients = 0;
  std::uint64_t connections = 0;
  std::uint64_t total_refused = 0;
  for (const auto& info : rules) {
    clients += info.clients;
    connections += std::uint64_t{info.active_connections} + info.inactive_connections;
    total_refused += refused(info);
  }
  fmt::format_to(out, "\nsource NAT: {} rules, {} inside hosts, {} connections, {} refused\n",
                 rules.size(), clients, connections, total_refused);
  fmt::format_to(out, "  {:<16} {:>9} {:>11} {:>9} {:>9} {:>8} {:>9}\n", "", "active", "inactive",
                 "clients", "refused", "conns/s", "pkts/s");
  const auto shown = all ? rules.size() : std::min(rules.size(), kShownServices);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& info = rules[i];
    const auto& rates = info.statistics.rates;
    fmt::format_to(out, "  {:<16} {:>9} {:>11} {:>9} {:>9} {:>8} {:>9}\n", info.rule.name.view(),
                   info.active_connections, info.inactive_connections, info.clients, refused(info),
                   rates.connections, rates.packets_in + rates.packets_out);
    if (const auto last = last_refusal_text(info); !last.empty()) {
      fmt::format_to(out, "    last refused: {}\n", last);
    }
  }
  if (shown < rules.size()) {
    fmt::format_to(out, "  ... and {} more (--all)\n", rules.size() - shown);
  }
}

void append_traffic(std::string& text, const model::Statistics& totals) {
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "\n{:<30} {:>20} {:>14}\n", "traffic", "total", "a second");
  const auto row = [&](std::string_view name, std::uint64_t total, std::uint64_t rate) {
    fmt::format_to(out, "  {:<28} {:>20} {:>14}\n", name, total, rate);
  };
  const auto& [counters, rates] = totals;
  row("connections", counters.connections, rates.connections);
  row("packets in", counters.packets_in, rates.packets_in);
  row("packets out", counters.packets_out, rates.packets_out);
  row("bytes in", counters.bytes_in, rates.bytes_in);
  row("bytes out", counters.bytes_out, rates.bytes_out);
}

nlohmann::json counters_json(std::span<const wire::NamedCounter> counters) {
  auto object = nlohmann::json::object();
  for (const auto& counter : counters) object[counter.name] = counter.value;
  return object;
}

nlohmann::json statistics_json(const model::Statistics& statistics) {
  const auto& [counters, rates] = statistics;
  return {
      {"connections", counters.connections},       {"packets_in", counters.packets_in},
      {"packets_out", counters.packets_out},       {"bytes_in", counters.bytes_in},
      {"bytes_out", counters.bytes_out},           {"connections_per_second", rates.connections},
      {"packets_in_per_second", rates.packets_in}, {"packets_out_per_second", rates.packets_out},
      {"bytes_in_per_second", rates.bytes_in},     {"bytes_out_per_second", rates.bytes_out}};
}

nlohmann::json services_json(const Overview& overview) {
  auto services = nlohmann::json::array();
  for (const auto& service : overview.services) {
    auto servers = nlohmann::json::array();
    for (const auto& server : service.servers) {
      servers.push_back({{"address", endpoint(server.spec.address, server.spec.port)},
                         {"weight", server.spec.weight},
                         {"up", server.spec.weight > 0},
                         {"active_connections", server.active_connections},
                         {"inactive_connections", server.inactive_connections},
                         {"statistics", statistics_json(server.statistics)}});
    }
    services.push_back({{"service", service_name(service.info.spec.key)},
                        {"scheduler", service.info.spec.scheduler.view()},
                        {"up", service.up()},
                        {"quiescent", service.servers.size() - service.up()},
                        {"servers", std::move(servers)},
                        {"statistics", statistics_json(service.info.statistics)}});
  }
  return services;
}

nlohmann::json snat_json(const std::vector<model::SnatRuleInfo>& rules) {
  auto all = nlohmann::json::array();
  for (const auto& info : rules) {
    nlohmann::json one{{"name", info.rule.name.view()},
                       {"rule", snat_options_text(info.rule)},
                       {"active_connections", info.active_connections},
                       {"inactive_connections", info.inactive_connections},
                       {"clients", info.clients},
                       {"refused",
                        {{"no_port", info.refused_pool},
                         {"limit", info.refused_limit},
                         {"no_room", info.refused_table}}},
                       {"statistics", statistics_json(info.statistics)}};
    if (const auto last = last_refusal_text(info); !last.empty()) one["last_refused"] = last;
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

std::string status_text(const Overview& overview, bool all) {
  const auto& director = overview.status.director;
  const auto judgement = judge(overview);
  std::string text =
      fmt::format("{}{}{}\n", state_word(judgement.state), judgement.reasons.empty() ? "" : ": ",
                  fmt::join(judgement.reasons, "; "));
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "director {}, up {}\n", director.version,
                 uptime_text(director.uptime_seconds));
  if (!director.health.empty()) fmt::format_to(out, "health: {}\n", director.health);
  const auto capacity = director.connection_capacity;
  fmt::format_to(out, "connections {} of {} ({} % of the table)\n", director.connections, capacity,
                 capacity == 0 ? 0 : director.connections * 100 / capacity);
  if (const auto fast = fast_path(director)) {
    fmt::format_to(out, "fast path: {:.1f} % of {} packets stayed in XDP, {} went to the engine\n",
                   fast->percent(), fast->forwarded + fast->punted, fast->punted);
  }
  if (const auto own = stand_in(director)) {
    fmt::format_to(out, "stand-in: {}\n", stand_in_text(*own));
  }
  std::vector<std::string> daemons;
  for (const auto& daemon : overview.sync_daemons) daemons.push_back(sync_text(daemon));
  fmt::format_to(out, "sync: {}\n",
                 daemons.empty() ? "off" : fmt::format("{}", fmt::join(daemons, "; ")));
  append_services(text, overview, all);
  append_snat(text, overview.snat_rules, all);
  append_traffic(text, director.totals);
  text += "\ncounters\n";
  append_counters(text, director.counters, all);
  text += "\ndropped, by reason\n";
  const auto before = text.size();
  append_counters(text, director.drops, false);
  if (text.size() == before) text += "  none\n";
  for (const auto& interface : overview.status.interfaces) {
    fmt::format_to(out, "\ninterface {}, XDP {}\n", interface.name, interface.xdp_mode);
    if (!interface.note.empty()) fmt::format_to(out, "  {}\n", interface.note);
    append_counters(text, interface.counters, all);
  }
  return text;
}

std::string status_json(const Overview& overview) {
  const auto& director = overview.status.director;
  const auto judgement = judge(overview);
  auto interfaces = nlohmann::json::array();
  for (const auto& interface : overview.status.interfaces) {
    interfaces.push_back({{"name", interface.name},
                          {"xdp_mode", interface.xdp_mode},
                          {"note", interface.note},
                          {"counters", counters_json(interface.counters)}});
  }
  auto daemons = nlohmann::json::array();
  for (const auto& daemon : overview.sync_daemons) {
    daemons.push_back({{"role", daemon.role == model::SyncRole::kMaster ? "master" : "backup"},
                       {"interface", daemon.interface.view()},
                       {"id", daemon.sync_id}});
  }
  nlohmann::json all{{"state", state_word(judgement.state)},
                     {"reasons", judgement.reasons},
                     {"version", director.version},
                     {"uptime_seconds", director.uptime_seconds},
                     {"health", director.health},
                     {"connections", director.connections},
                     {"connection_capacity", director.connection_capacity},
                     {"totals", statistics_json(director.totals)},
                     {"services", services_json(overview)},
                     {"snat", snat_json(overview.snat_rules)},
                     {"interfaces", std::move(interfaces)},
                     {"sync", std::move(daemons)},
                     {"counters", counters_json(director.counters)},
                     {"drops", counters_json(director.drops)}};
  if (const auto fast = fast_path(director)) {
    all["fast_path"] = {
        {"forwarded", fast->forwarded}, {"punted", fast->punted}, {"percent", fast->percent()}};
  }
  if (const auto own = stand_in(director)) {
    all["stand_in"] = {{"active", own->is_active}, {"table_full", own->is_table_full},
                       {"times", own->times},      {"packets", own->packets},
                       {"dropped", own->dropped},  {"tables", own->tables}};
  }
  return all.dump(2) + '\n';
}

}  // namespace lb::cli
