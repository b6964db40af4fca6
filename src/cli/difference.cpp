// SPDX-License-Identifier: Apache-2.0
#include "cli/difference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "cli/mark_text.hpp"
#include "cli/rules.hpp"
#include "cli/service_command.hpp"
#include "cli/snat_text.hpp"

namespace lb::cli {
namespace {

/// Collects the changes. That a request is taken says nothing yet: all are carried out later.
class Difference {
 public:
  explicit Difference(IpvsClient& client) : client_(client) {}

  void services(const DirectorState& running, const DirectorState& wanted);
  void mark_rules(const DirectorState& running, const DirectorState& wanted);
  void snat_rules(const DirectorState& running, const DirectorState& wanted);
  void settings(const DirectorState& running, const DirectorState& wanted);
  [[nodiscard]] std::vector<Change> take() { return std::move(changes_); }

 private:
  void note(const std::string& was, const std::string& is, const Place& place) {
    Change change{.text = {}, .place = place};
    if (!was.empty()) change.text += "- " + was;
    if (!is.empty()) change.text += "+ " + is;
    changes_.push_back(std::move(change));
  }
  void send(CommandKind kind, const model::ServiceSpec& service,
            const model::DestinationSpec& server = {}) {
    Command command;
    command.kind = kind;
    command.service = service;
    command.destination = server;
    static_cast<void>(client_.apply(command));
  }
  void service(const ServiceState* was, const ServiceState& is);
  void servers(const std::vector<ServerState>& was, const ServiceState& is);

  IpvsClient& client_;
  std::vector<Change> changes_;
};

std::string rule_of(const ServiceState& service) { return service_rule(service.spec, true); }

std::string rule_of(const ServiceState& service, const ServerState& server) {
  return whole_destination_rule(service.spec.key, server.spec);
}

std::string options_rule(const ServiceState& service) {
  return service_options_rule({.key = service.spec.key, .options = service.options});
}

using End = std::pair<net::IpAddress, std::uint16_t>;
End end_of(const ServerState& server) { return {server.spec.address, server.spec.port.to_host()}; }

std::map<End, const ServerState*> by_end(const std::vector<ServerState>& servers) {
  std::map<End, const ServerState*> result;
  for (const auto& server : servers) result.emplace(end_of(server), &server);
  return result;
}

std::map<model::ServiceKey, const ServiceState*> by_key(const DirectorState& state) {
  std::map<model::ServiceKey, const ServiceState*> result;
  for (const auto& service : state.services) result.emplace(service.spec.key, &service);
  return result;
}

void Difference::servers(const std::vector<ServerState>& was, const ServiceState& is) {
  const auto old = by_end(was);
  const auto fresh = by_end(is.servers);
  for (const auto& server : is.servers) {
    const auto found = old.find(end_of(server));
    if (found == old.end()) {
      send(CommandKind::kAddServer, is.spec, server.spec);
      note({}, rule_of(is, server), server.place);
    } else if (!(*found->second == server)) {
      send(CommandKind::kEditServer, is.spec, server.spec);
      note(rule_of(is, *found->second), rule_of(is, server), server.place);
    }
  }
  for (const auto& server : was) {
    if (fresh.contains(end_of(server))) continue;
    send(CommandKind::kDeleteServer, is.spec, server.spec);
    note(rule_of(is, server), {}, is.place);
  }
}

void Difference::service(const ServiceState* was, const ServiceState& is) {
  if (was == nullptr) {
    send(CommandKind::kAddService, is.spec);
    note({}, rule_of(is), is.place);
  } else if (!(was->spec == is.spec)) {
    send(CommandKind::kEditService, is.spec);
    note(rule_of(*was), rule_of(is), is.place);
  }
  if (!(is.options == (was == nullptr ? model::ServiceOptions() : was->options))) {
    static_cast<void>(client_.set_service_options({.key = is.spec.key, .options = is.options}));
    const bool had = was != nullptr && !was->options.is_default();
    note(had ? options_rule(*was) : std::string(), options_rule(is), is.place);
  }
  servers(was == nullptr ? std::vector<ServerState>() : was->servers, is);
}

void Difference::services(const DirectorState& running, const DirectorState& wanted) {
  const auto old = by_key(running);
  const auto fresh = by_key(wanted);
  for (const auto& service : running.services) {
    if (fresh.contains(service.spec.key)) continue;
    send(CommandKind::kDeleteService, service.spec);
    note(rule_of(service), {}, {});
  }
  for (const auto& one : wanted.services) {
    const auto found = old.find(one.spec.key);
    service(found == old.end() ? nullptr : found->second, one);
  }
}

// Their order counts, so they change as a whole.
void Difference::mark_rules(const DirectorState& running, const DirectorState& wanted) {
  if (!wanted.mark_rules || running.mark_rules == wanted.mark_rules) return;
  std::string was;
  for (const auto& rule : running.mark_rules.value_or(std::vector<model::MarkRule>())) {
    was += fmt::format("{}mark add {}\n", was.empty() ? "" : "- ", mark_rule_text(rule));
  }
  static_cast<void>(client_.flush_mark_rules());
  note(was, {}, wanted.mark_rules_place);
  for (const auto& rule : *wanted.mark_rules) {
    static_cast<void>(client_.add_mark_rule(rule));
    note({}, fmt::format("mark add {}\n", mark_rule_text(rule)), wanted.mark_rules_place);
  }
}

// All that goes before anything comes: a rule that is there may be in the way of a new one. Rules
// that stay keep their connections; one that changes in any way is made anew.
void Difference::snat_rules(const DirectorState& running, const DirectorState& wanted) {
  if (!wanted.snat_rules) return;
  const auto none = std::vector<model::SnatRule>();
  const auto& was = running.snat_rules ? *running.snat_rules : none;
  const auto is_in = [](const std::vector<model::SnatRule>& rules, const model::SnatRule& rule) {
    return std::find(rules.begin(), rules.end(), rule) != rules.end();
  };
  const auto text = [](const model::SnatRule& rule) {
    return fmt::format("snat add {}\n", snat_rule_text(rule));
  };
  for (const auto& rule : was) {
    if (is_in(*wanted.snat_rules, rule)) continue;
    static_cast<void>(client_.delete_snat_rule(rule.name));
    note(text(rule), {}, wanted.snat_rules_place);
  }
  for (std::size_t i = 0; i < wanted.snat_rules->size(); ++i) {
    const auto& rule = (*wanted.snat_rules)[i];
    if (is_in(was, rule)) continue;
    static_cast<void>(client_.add_snat_rule(rule));
    note({}, text(rule), i < wanted.snat_places.size() ? wanted.snat_places[i] : Place{});
  }
}

void Difference::settings(const DirectorState& running, const DirectorState& wanted) {
  for (const auto& setting : wanted.settings) {
    const auto found = std::find_if(running.settings.begin(), running.settings.end(),
                                    [&](const auto& other) { return other.name == setting.name; });
    if (found != running.settings.end() && found->value == setting.value) continue;
    static_cast<void>(client_.set_setting(setting));
    const auto text = [](const wire::Setting& one) {
      return fmt::format("sysctl {}={}\n", one.name, one.value);
    };
    note(found == running.settings.end() ? std::string() : text(*found), text(setting), {});
  }
  const auto timeout = [&](std::uint32_t model::Timeouts::*field) {
    const auto asked = wanted.timeouts.*field;
    return asked == running.timeouts.*field ? 0 : asked;
  };
  const model::Timeouts changed{.tcp = timeout(&model::Timeouts::tcp),
                                .tcp_fin = timeout(&model::Timeouts::tcp_fin),
                                .udp = timeout(&model::Timeouts::udp)};
  if (changed == model::Timeouts()) return;
  Command command;
  command.kind = CommandKind::kSetTimeouts;
  command.timeouts = changed;
  static_cast<void>(client_.apply(command));
  const auto text = [](const model::Timeouts& t) {
    return fmt::format("--set {} {} {}\n", t.tcp, t.tcp_fin, t.udp);
  };
  note(text(running.timeouts), text(changed), {});
}

}  // namespace

std::vector<Change> send_difference(const DirectorState& running, const DirectorState& wanted,
                                    IpvsClient& client) {
  Difference difference(client);
  difference.settings(running, wanted);
  difference.mark_rules(running, wanted);
  difference.snat_rules(running, wanted);
  difference.services(running, wanted);
  return difference.take();
}

}  // namespace lb::cli
