// SPDX-License-Identifier: Apache-2.0
#include "cli/status.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>

#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"

namespace lb::cli {
namespace {

std::optional<std::uint64_t> find(std::span<const wire::NamedCounter> counters,
                                  std::string_view name) {
  const auto found = std::find_if(counters.begin(), counters.end(),
                                  [&](const auto& counter) { return counter.name == name; });
  if (found == counters.end()) return std::nullopt;
  return found->value;
}

Result<Overview> ask(wire::Transport& transport) {
  IpvsClient client(transport);
  if (const auto opened = client.open(); !opened) return tl::unexpected(opened.error());
  Overview overview;
  auto status = client.status();
  if (!status) return tl::unexpected(status.error());
  overview.status = *std::move(status);
  const auto services = client.services();
  if (!services) return tl::unexpected(services.error());
  for (const auto& info : *services) {
    auto servers = client.destinations(info.spec.key);
    if (!servers) return tl::unexpected(servers.error());
    overview.services.push_back({.info = info, .servers = *std::move(servers)});
  }
  auto snat_rules = client.snat_rules();
  if (!snat_rules) return tl::unexpected(snat_rules.error());
  overview.snat_rules = *std::move(snat_rules);
  auto daemons = client.daemons();
  if (!daemons) return tl::unexpected(daemons.error());
  overview.sync_daemons = *std::move(daemons);
  return overview;
}

ProgramResult unknown(const std::string& reason) {
  return {.exit_status = static_cast<int>(State::kUnknown),
          .out = {},
          .err = fmt::format("sluice: status: {}\n", reason)};
}

}  // namespace

std::size_t Overview::Service::up() const {
  return static_cast<std::size_t>(std::count_if(
      servers.begin(), servers.end(), [](const auto& server) { return server.spec.weight > 0; }));
}

Judgement judge(const Overview& overview) {
  std::vector<std::string> critical;
  std::vector<std::string> warnings;
  const auto& director = overview.status.director;
  for (const auto& interface : overview.status.interfaces) {
    if (interface.xdp_mode == "none") {
      critical.push_back(fmt::format("interface {} is gone", interface.name));
    }
  }
  const auto capacity = director.connection_capacity;
  if (capacity != 0 && director.connections >= capacity) {
    critical.emplace_back("the connection table is full");
  } else if (capacity != 0 && director.connections >= capacity - capacity / 10) {
    warnings.emplace_back("the connection table is nearly full");
  }
  constexpr std::string_view kDegraded = "degraded: ";
  if (director.health.starts_with(kDegraded)) {
    warnings.push_back(director.health.substr(kDegraded.size()));
  }
  const auto without =
      std::count_if(overview.services.begin(), overview.services.end(),
                    [](const Overview::Service& service) { return service.up() == 0; });
  if (without > 0) warnings.push_back(fmt::format("{} services without a server", without));

  Judgement judgement;
  judgement.state = !critical.empty()   ? State::kCritical
                    : !warnings.empty() ? State::kWarning
                                        : State::kOk;
  for (const auto* list : {&critical, &warnings}) {
    for (const auto& reason : *list) {
      // The daemon's own judgement says some of it again.
      if (std::find(judgement.reasons.begin(), judgement.reasons.end(), reason) ==
          judgement.reasons.end()) {
        judgement.reasons.push_back(reason);
      }
    }
  }
  return judgement;
}

double FastPath::percent() const {
  const auto all = static_cast<double>(forwarded) + static_cast<double>(punted);
  return all == 0 ? 0 : 100 * static_cast<double>(forwarded) / all;
}

std::optional<FastPath> fast_path(const wire::DirectorStatus& director) {
  const auto forwarded = find(director.counters, "xdp_forwarded");
  if (!forwarded) return std::nullopt;
  FastPath result{.forwarded = *forwarded};
  for (const auto* name :
       {"xdp_to_virtual", "xdp_from_real", "xdp_icmp_errors", "xdp_fragments", "xdp_odd"}) {
    result.punted += find(director.counters, name).value_or(0);
  }
  // XDP counts what it would ask about, and then those that it does not.
  for (const auto* name : {"xdp_stood_in", "xdp_limit_drops", "xdp_no_socket_drops"}) {
    result.punted -= std::min(result.punted, find(director.counters, name).value_or(0));
  }
  return result;
}

std::optional<StandIn> stand_in(const wire::DirectorStatus& director) {
  const auto value = [&](std::string_view name) { return find(director.counters, name); };
  const auto active = value("stand_in_active");
  if (!active) return std::nullopt;
  return StandIn{.is_active = *active != 0,
                 .is_table_full = value("stand_in_table_full").value_or(0) != 0,
                 .times = value("stand_in_times").value_or(0),
                 .packets = value("xdp_stood_in").value_or(0),
                 .dropped = value("xdp_limit_drops").value_or(0),
                 .tables = value("stand_in_tables").value_or(0)};
}

ProgramResult run_status(std::span<const std::string> options, wire::Transport& transport) {
  bool is_json = false;
  bool is_all = false;
  for (const auto& option : options) {
    if (option == "--json") {
      is_json = true;
    } else if (option == "--all") {
      is_all = true;
    } else {
      return unknown(fmt::format("unexpected argument `{}' (known: --json, --all)", option));
    }
  }
  const auto overview = ask(transport);
  if (!overview) {
    // Nobody balances here: as bad as it gets. Who may not ask can't tell.
    const bool is_nobody = overview.error().code == ECONNREFUSED;
    return failed(unanswered_text(overview.error()),
                  static_cast<int>(is_nobody ? State::kCritical : State::kUnknown));
  }
  return {.exit_status = static_cast<int>(judge(*overview).state),
          .out = is_json ? status_json(*overview) : status_text(*overview, is_all),
          .err = {}};
}

}  // namespace lb::cli
