// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "control/commands.hpp"
#include "engine/snat.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/snat_messages.hpp"

/// The rules of source NAT in the SLUICE family.
namespace lb::control {
namespace {

Result<Response> done(const Result<void>& result) {
  if (!result) return tl::unexpected(result.error());
  return Response{};
}

Result<Response> add(const Request& request) {
  const auto rule = wire::parse_snat_rule_request(request.message);
  if (!rule) return tl::unexpected(rule.error());
  return done(engine::add_snat_rule(request.director, *rule));
}

Result<Response> check(const Request& request) {
  const auto rule = wire::parse_snat_rule_request(request.message);
  if (!rule) return tl::unexpected(rule.error());
  if (model::fault_of(*rule) != model::SnatFault::kNone) return failure(EINVAL);
  Response response;
  wire::encode_snat_conflict(response.message, request.message, request.port_id,
                             engine::snat_conflict(request.director, *rule));
  return response;
}

Result<Response> remove(const Request& request) {
  const auto name = wire::parse_snat_name_request(request.message);
  if (!name) return tl::unexpected(name.error());
  return done(engine::delete_snat_rule(request.director, *name));
}

Result<Response> zero(const Request& request) {
  const auto name = wire::parse_snat_name_request(request.message);
  if (!name) return tl::unexpected(name.error());
  if (!name->empty()) return done(engine::zero_snat_rule(request.director, *name));
  for (const auto& info : engine::snat_rules(request.director)) {
    static_cast<void>(engine::zero_snat_rule(request.director, info.rule.name));  // it is there
  }
  return Response{};
}

}  // namespace

Result<Response> handle_snat(const Request& request) {
  using enum wire::SluiceCommand;
  const auto command = static_cast<wire::SluiceCommand>(request.message.header.command);
  if (request.is_dump()) {
    if (command != kGetSnatRules) return failure(EOPNOTSUPP);
    return Response{.message = {},
                    .dump = dump_snat_rules(request.dump_context(), request.director)};
  }
  switch (command) {
    case kAddSnatRule:
      return add(request);
    case kCheckSnatRule:
      return check(request);
    case kDeleteSnatRule:
      return remove(request);
    case kZeroSnatRules:
      return zero(request);
    case kFlushSnatRules:
      engine::flush_snat_rules(request.director);
      return Response{};
    default:
      return failure(EOPNOTSUPP);
  }
}

}  // namespace lb::control
