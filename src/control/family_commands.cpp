// SPDX-License-Identifier: Apache-2.0
#include <linux/genetlink.h>

#include <cerrno>
#include <string>

#include "control/commands.hpp"
#include "control/daemon_control.hpp"
#include "control/proc_files.hpp"
#include "control/setting_names.hpp"
#include "engine/removal.hpp"
#include "wire/family.hpp"
#include "wire/mark_messages.hpp"
#include "wire/removal_messages.hpp"
#include "wire/sluice_messages.hpp"

/// The controller's look-up of families, and the SLUICE family.
namespace lb::control {
namespace {

Result<Response> get_setting(const Request& request) {
  const auto asked = wire::parse_setting_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  const auto* setting = find_setting(asked->name);
  if (setting == nullptr) return failure(ENOENT);
  const auto value = setting_text(request.director.settings(), *setting);
  Response response;
  wire::encode_setting(response.message, request.message, request.port_id, 0,
                       {.name = std::string(setting->name), .value = value});
  return response;
}

Result<Response> set_setting(const Request& request) {
  const auto asked = wire::parse_setting_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  auto settings = request.director.settings();
  if (const auto result = assign_setting(settings, asked->name, asked->value); !result) {
    return tl::unexpected(result.error());
  }
  request.director.set_settings(settings);
  return Response{};
}

Result<Response> done(const Result<void>& result) {
  if (!result) return tl::unexpected(result.error());
  return Response{};
}

Result<Response> add_mark_rule(const Request& request) {
  const auto asked = wire::parse_mark_rule_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  if (!asked->rule) return failure(EINVAL);
  return done(request.director.add_mark_rule(*asked->rule, asked->position));
}

Result<Response> delete_mark_rule(const Request& request) {
  const auto asked = wire::parse_mark_rule_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  if (asked->position != 0) return done(request.director.delete_mark_rule(asked->position));
  if (!asked->rule) return failure(EINVAL);
  return done(request.director.delete_mark_rule(*asked->rule));
}

Result<Response> get_file(const Request& request) {
  const auto path = wire::parse_file_request(request.message);
  if (!path) return tl::unexpected(path.error());
  if (!has_proc_file(*path)) return failure(ENOENT);
  if (!request.is_dump()) return Response{};
  return Response{.message = {}, .dump = dump_file(request.dump_context(), *path)};
}

Result<Response> set_service_options(const Request& request) {
  const auto asked = wire::parse_service_options_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  return done(engine::set_service_options(request.director, asked->key, asked->options));
}

Result<Response> end_connections(const Request& request) {
  const auto asked = wire::parse_end_connections_request(request.message);
  if (!asked) return tl::unexpected(asked.error());
  return done(engine::end_connections(request.director, *asked));
}

Result<Response> stop_daemon(const Request& request) {
  const auto mode = wire::parse_stop_request(request.message);
  if (!mode) return tl::unexpected(mode.error());
  if (request.daemon == nullptr) return failure(EOPNOTSUPP);
  return done(request.daemon->stop(*mode));
}

Result<Response> change_mark_rules(const Request& request, wire::SluiceCommand command) {
  using enum wire::SluiceCommand;
  switch (command) {
    case kAddMarkRule:
      return add_mark_rule(request);
    case kDeleteMarkRule:
      return delete_mark_rule(request);
    case kFlushMarkRules:
      request.director.flush_mark_rules();
      return Response{};
    case kZeroMarkRules:
      request.director.zero_mark_rules();
      return Response{};
    default:
      return failure(EOPNOTSUPP);
  }
}

Response dumped(std::unique_ptr<Dump> dump) { return {.message = {}, .dump = std::move(dump)}; }

}  // namespace

Result<Response> handle_controller(const Request& request) {
  if (request.message.header.command != CTRL_CMD_GETFAMILY) return failure(EOPNOTSUPP);
  if (request.is_dump()) return dumped(dump_families(request.dump_context()));
  const auto family = wire::parse_family_request(request.message);
  if (!family) return tl::unexpected(family.error());
  Response response;
  wire::encode_family(response.message, request.message, **family, request.port_id);
  return response;
}

Result<Response> handle_sluice(const Request& request) {
  using enum wire::SluiceCommand;
  const auto command = static_cast<wire::SluiceCommand>(request.message.header.command);
  if (command == kGetFile) return get_file(request);
  if (command >= kNewSnatRule && command <= kNewSnatConflict) return handle_snat(request);
  if (request.is_dump()) {
    const auto context = request.dump_context();
    if (command == kGetConnections) return dumped(dump_connections(context));
    if (command == kGetStatus) return dumped(dump_status(context, request.status));
    if (command == kGetSetting) return dumped(dump_settings(context));
    if (command == kGetMarkRules) return dumped(dump_mark_rules(context));
    if (command == kGetServiceOptions) return dumped(dump_service_options(context));
    return failure(EOPNOTSUPP);
  }
  if (command == kGetSetting) return get_setting(request);
  if (command == kSetSetting) return set_setting(request);
  if (command == kSetServiceOptions) return set_service_options(request);
  if (command == kEndConnections) return end_connections(request);
  if (command == kStop) return stop_daemon(request);
  return change_mark_rules(request, command);
}

}  // namespace lb::control
