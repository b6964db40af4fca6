// SPDX-License-Identifier: Apache-2.0
#include "cli/request_text.hpp"

#include <linux/ip_vs.h>

#include <cerrno>

#include "cli/error_text.hpp"
#include "cli/failed.hpp"
#include "cli/service_command.hpp"
#include "wire/family.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::cli {
namespace {

Asked asked_by(unsigned command) noexcept {
  switch (command) {
    case IPVS_CMD_NEW_SERVICE:
      return Asked::kAddService;
    case IPVS_CMD_SET_SERVICE:
      return Asked::kEditService;
    case IPVS_CMD_DEL_SERVICE:
      return Asked::kDeleteService;
    case IPVS_CMD_NEW_DEST:
      return Asked::kAddServer;
    case IPVS_CMD_SET_DEST:
      return Asked::kEditServer;
    case IPVS_CMD_DEL_DEST:
      return Asked::kDeleteServer;
    case IPVS_CMD_ZERO:
      return Asked::kZero;
    case IPVS_CMD_SET_CONFIG:
      return Asked::kTimeouts;
    case IPVS_CMD_NEW_DAEMON:
      return Asked::kStartDaemon;
    case IPVS_CMD_DEL_DAEMON:
      return Asked::kStopDaemon;
    default:
      return Asked::kFlush;
  }
}

}  // namespace

std::string refusal_text(std::span<const std::byte> request, Error error) {
  const auto view = wire::view_message(request);
  if (!view) return "not a request";
  if (view->header.type == wire::kSluiceFamily) {
    using enum wire::SluiceCommand;
    switch (static_cast<wire::SluiceCommand>(view->header.command)) {
      case kSetServiceOptions:
        return service_refusal_text(error);
      case kSetSetting:
        return error.code == ENOENT ? "there is no such setting"
                                    : "the setting cannot have this value";
      default:
        return rule_refusal_text(error);
    }
  }
  const auto asked = asked_by(view->header.command);
  if (error.code == EOPNOTSUPP && (asked == Asked::kStartDaemon || asked == Asked::kStopDaemon)) {
    return "a sync daemon cannot be started or stopped as part of a whole";
  }
  if (error.code == ENOBUFS) return "too many rules to be applied at once";
  return error_text(asked, error);
}

}  // namespace lb::cli
