// SPDX-License-Identifier: Apache-2.0
#include "cli/ipvs_client.hpp"

#include <utility>

#include "wire/mark_messages.hpp"
#include "wire/snat_messages.hpp"

namespace lb::cli {
namespace {

/// Sends `request` and hands the answer to `read`.
template <class Read>
auto ask(wire::Transport& transport, const wire::Message& request, Read read)
    -> decltype(read(std::declval<std::span<const wire::Message>>())) {
  const auto answer = transport.exchange(request);
  if (!answer) return tl::unexpected(answer.error());
  return read(std::span<const wire::Message>(*answer));
}

}  // namespace

wire::RequestContext IpvsClient::context(std::uint16_t family) noexcept {
  return {.family = family, .sequence = ++sequence_, .port_id = 0};
}

Result<std::uint16_t> IpvsClient::look_up(std::string_view name) {
  return ask(transport_, wire::family_request(name, ++sequence_), wire::read_family_id);
}

Result<wire::DirectorInfo> IpvsClient::open() {
  const auto family = look_up(wire::kIpvsName);
  if (!family) return tl::unexpected(family.error());
  ipvs_family_ = *family;
  return ask(transport_, wire::info_request(ipvs()), wire::read_info);
}

wire::Message IpvsClient::request_of(const Command& command) {
  const auto& [kind, options, service, destination, daemon, timeouts] = command;
  switch (kind) {
    case CommandKind::kAddService:
      return wire::add_service_request(ipvs(), service);
    case CommandKind::kEditService:
      return wire::edit_service_request(ipvs(), service);
    case CommandKind::kDeleteService:
      return wire::delete_service_request(ipvs(), service);
    case CommandKind::kAddServer:
      return wire::add_destination_request(ipvs(), service, destination);
    case CommandKind::kEditServer:
      return wire::edit_destination_request(ipvs(), service, destination);
    case CommandKind::kDeleteServer:
      return wire::delete_destination_request(ipvs(), service, destination);
    case CommandKind::kZero:
      return options.has(Option::kService) ? wire::zero_request(ipvs(), service)
                                           : wire::zero_all_request(ipvs());
    case CommandKind::kSetTimeouts:
      return wire::set_timeouts_request(ipvs(), timeouts);
    case CommandKind::kStartDaemon:
      return wire::start_daemon_request(ipvs(), daemon);
    case CommandKind::kStopDaemon:
      return wire::stop_daemon_request(ipvs(), daemon);
    case CommandKind::kFlush:
      return wire::flush_request(ipvs());
    case CommandKind::kList:
    case CommandKind::kSave:
    case CommandKind::kRestore:
      break;  // not of this kind; an empty message is refused below
  }
  return {};
}

Result<void> IpvsClient::apply(const Command& command) {
  const auto request = request_of(command);
  if (request.empty()) return failure(EINVAL);
  return ask(transport_, request, wire::outcome);
}

std::vector<Result<void>> IpvsClient::apply_all(std::span<const Command> commands) {
  std::vector<wire::Message> requests;
  requests.reserve(commands.size());
  for (const auto& command : commands) requests.push_back(request_of(command));
  std::vector<Result<void>> results;
  results.reserve(commands.size());
  for (const auto& answer : transport_.exchange_all(requests)) {
    results.push_back(answer ? wire::outcome(*answer) : tl::unexpected(answer.error()));
  }
  results.resize(commands.size(), failure(EBADMSG));
  return results;
}

Result<model::ServiceInfo> IpvsClient::service(const model::ServiceKey& key) {
  return ask(transport_, wire::get_service_request(ipvs(), key), wire::read_service);
}

Result<std::vector<model::ServiceInfo>> IpvsClient::services() {
  return ask(transport_, wire::list_services_request(ipvs()), wire::read_services);
}

Result<std::vector<model::DestinationInfo>> IpvsClient::destinations(const model::ServiceKey& key) {
  return ask(transport_, wire::list_destinations_request(ipvs(), key), wire::read_destinations);
}

std::vector<Result<std::vector<model::DestinationInfo>>> IpvsClient::destinations_of(
    std::span<const model::ServiceInfo> services) {
  std::vector<wire::Message> requests;
  requests.reserve(services.size());
  for (const auto& service : services) {
    requests.push_back(wire::list_destinations_request(ipvs(), service.spec.key));
  }
  std::vector<Result<std::vector<model::DestinationInfo>>> results;
  results.reserve(services.size());
  for (const auto& answer : transport_.exchange_all(requests)) {
    results.push_back(answer ? wire::read_destinations(*answer) : tl::unexpected(answer.error()));
  }
  return results;
}

Result<model::Timeouts> IpvsClient::timeouts() {
  return ask(transport_, wire::timeouts_request(ipvs()), wire::read_timeouts);
}

Result<std::vector<model::SyncDaemonSpec>> IpvsClient::daemons() {
  return ask(transport_, wire::list_daemons_request(ipvs()), wire::read_daemons);
}

Result<void> IpvsClient::open_sluice() {
  if (sluice_family_) return {};
  const auto family = look_up(wire::kSluiceName);
  if (!family) return tl::unexpected(family.error());
  sluice_family_ = *family;
  return {};
}

template <class Make, class Read>
auto IpvsClient::ask_sluice(Make make, Read read)
    -> decltype(read(std::declval<std::span<const wire::Message>>())) {
  if (const auto opened = open_sluice(); !opened) return tl::unexpected(opened.error());
  return ask(transport_, make(context(*sluice_family_)), read);
}

Result<std::vector<model::ConnectionInfo>> IpvsClient::connections() {
  return ask_sluice(wire::list_connections_request, wire::read_connections);
}

Result<wire::Status> IpvsClient::status() {
  return ask_sluice(wire::status_request, wire::read_status);
}

Result<void> IpvsClient::stop(wire::StopMode mode) {
  return ask_sluice(
      [mode](const wire::RequestContext& context) { return wire::stop_request(context, mode); },
      wire::outcome);
}

Result<std::vector<model::MarkRuleInfo>> IpvsClient::mark_rules() {
  return ask_sluice(wire::list_mark_rules_request, wire::read_mark_rules);
}

Result<void> IpvsClient::add_mark_rule(const model::MarkRule& rule, std::uint32_t position) {
  return ask_sluice(
      [&](const auto& request) { return wire::add_mark_rule_request(request, rule, position); },
      wire::outcome);
}

Result<void> IpvsClient::delete_mark_rule(std::uint32_t position) {
  return ask_sluice(
      [&](const auto& request) { return wire::delete_mark_rule_request(request, position); },
      wire::outcome);
}

Result<void> IpvsClient::delete_mark_rule(const model::MarkRule& rule) {
  return ask_sluice(
      [&](const auto& request) { return wire::delete_mark_rule_request(request, rule); },
      wire::outcome);
}

Result<void> IpvsClient::flush_mark_rules() {
  return ask_sluice(wire::flush_mark_rules_request, wire::outcome);
}

Result<void> IpvsClient::zero_mark_rules() {
  return ask_sluice(wire::zero_mark_rules_request, wire::outcome);
}

Result<std::vector<model::SnatRuleInfo>> IpvsClient::snat_rules() {
  return ask_sluice(wire::list_snat_rules_request, wire::read_snat_rules);
}

Result<void> IpvsClient::add_snat_rule(const model::SnatRule& rule) {
  return ask_sluice(
      [&](const wire::RequestContext& context) {
        return wire::add_snat_rule_request(context, rule);
      },
      wire::outcome);
}

Result<std::optional<model::SnatConflict>> IpvsClient::snat_conflict(const model::SnatRule& rule) {
  return ask_sluice(
      [&](const wire::RequestContext& context) {
        return wire::check_snat_rule_request(context, rule);
      },
      wire::read_snat_conflict);
}

Result<void> IpvsClient::delete_snat_rule(const model::Name& name) {
  return ask_sluice(
      [&](const wire::RequestContext& context) {
        return wire::delete_snat_rule_request(context, name);
      },
      wire::outcome);
}

Result<void> IpvsClient::flush_snat_rules() {
  return ask_sluice(wire::flush_snat_rules_request, wire::outcome);
}

Result<void> IpvsClient::zero_snat_rules(const model::Name& name) {
  return ask_sluice(
      [&](const wire::RequestContext& context) {
        return wire::zero_snat_rules_request(context, name);
      },
      wire::outcome);
}

Result<std::vector<wire::Setting>> IpvsClient::settings() {
  return ask_sluice(wire::list_settings_request, wire::read_settings);
}

Result<wire::Setting> IpvsClient::setting(std::string_view name) {
  const auto found =
      ask_sluice([&](const auto& request) { return wire::get_setting_request(request, name); },
                 wire::read_settings);
  if (!found) return tl::unexpected(found.error());
  if (found->size() != 1) return failure(EBADMSG);
  return found->front();
}

Result<std::vector<wire::NamedServiceOptions>> IpvsClient::service_options() {
  return ask_sluice(wire::list_service_options_request, wire::read_service_options);
}

Result<void> IpvsClient::set_service_options(const wire::NamedServiceOptions& service) {
  return ask_sluice(
      [&](const auto& request) { return wire::set_service_options_request(request, service); },
      wire::outcome);
}

Result<void> IpvsClient::end_connections(const model::ConnectionSelection& selection) {
  return ask_sluice(
      [&](const auto& request) { return wire::end_connections_request(request, selection); },
      wire::outcome);
}

Result<std::optional<wire::TransactionFailure>> IpvsClient::apply_together(
    std::span<const wire::Message> requests) {
  if (const auto begun = ask_sluice(wire::begin_transaction_request, wire::outcome); !begun) {
    return tl::unexpected(begun.error());
  }
  std::uint32_t number = 0;
  for (const auto& answer : transport_.exchange_all(requests)) {
    if (!answer) return tl::unexpected(answer.error());
    if (const auto kept = wire::outcome(*answer); !kept) {
      // That it is given up needs no answer: the director forgets it with the connection.
      static_cast<void>(ask_sluice(wire::abort_transaction_request, wire::outcome));
      return wire::TransactionFailure{.request = number, .error = kept.error().code};
    }
    ++number;
  }
  return ask_sluice(wire::commit_transaction_request, wire::read_transaction_result);
}

Result<void> IpvsClient::set_setting(const wire::Setting& setting) {
  return ask_sluice(
      [&](const auto& request) { return wire::set_setting_request(request, setting); },
      wire::outcome);
}

}  // namespace lb::cli
