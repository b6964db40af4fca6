// SPDX-License-Identifier: Apache-2.0
#include "cli/error_text.hpp"

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

namespace lb::cli {
namespace {

struct Entry {
  Asked asked;
  int code;
  std::string_view text;
};

constexpr std::array kByRequest = {
    Entry{Asked::kAddService, EEXIST, "Service already exists"},
    Entry{Asked::kAddService, ENOENT, "Scheduler or persistence engine not found"},
    Entry{Asked::kEditService, ESRCH, "No such service"},
    Entry{Asked::kEditService, ENOENT, "Scheduler or persistence engine not found"},
    Entry{Asked::kDeleteService, ESRCH, "No such service"},
    Entry{Asked::kGetService, ESRCH, "No such service"},
    Entry{Asked::kZero, ESRCH, "No such service"},
    Entry{Asked::kAddServer, ESRCH, "Service not defined"},
    Entry{Asked::kAddServer, EEXIST, "Destination already exists"},
    Entry{Asked::kEditServer, ESRCH, "Service not defined"},
    Entry{Asked::kEditServer, ENOENT, "No such destination"},
    Entry{Asked::kDeleteServer, ESRCH, "Service not defined"},
    Entry{Asked::kDeleteServer, ENOENT, "No such destination"},
    Entry{Asked::kListServers, ESRCH, "No such service"},
    Entry{Asked::kStartDaemon, EEXIST, "Daemon has already run"},
    Entry{Asked::kStopDaemon, ESRCH, "No daemon is running"},
};

}  // namespace

std::string error_text(Asked asked, Error error) {
  for (const auto& entry : kByRequest) {
    if (entry.asked == asked && entry.code == error.code) return std::string(entry.text);
  }
  switch (error.code) {
    case EPERM:
      return "Permission denied (you must be root)";
    case EINVAL:
      return "Invalid operation.  Possibly wrong module version, address not unicast, ...";
    case ENOMEM:
      return "Memory allocation problem";
    case EMSGSIZE:
      return "Module is wrong version";
    case EOPNOTSUPP:
      return "Operation not supported with IPv6";
    case EAFNOSUPPORT:
      return "Operation not supported with specified address family";
    default:
      return std::system_category().message(error.code);
  }
}

}  // namespace lb::cli
