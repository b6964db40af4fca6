// SPDX-License-Identifier: Apache-2.0
#include "cli/failed.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "cli/error_text.hpp"

namespace lb::cli {

ProgramResult failed(std::string_view reason, int exit_status) {
  return {.exit_status = exit_status, .out = {}, .err = fmt::format("sluice: {}\n", reason)};
}

ProgramResult not_answered(Error error) { return failed(unanswered_text(error)); }

std::string unanswered_text(Error error) {
  if (error.code == ECONNREFUSED) {
    return "no director runs in this network namespace; start one as root with `systemctl start "
           "sluiced' or `sluiced'";
  }
  return fmt::format("the director could not be asked: {}", error_text(Asked::kInfo, error));
}

std::string rule_refusal_text(Error error) {
  switch (error.code) {
    case E2BIG:
      return "there is no such position";
    case EEXIST:
      return "there is a rule of that name, for the same packets, or with an address of this "
             "static mapping already";
    case ENOENT:
      return "there is no such rule";
    case ENOSPC:
      return "there are too many rules";
    case EINVAL:
      return "the director does not take this rule";
    default:
      return unanswered_text(error);
  }
}

}  // namespace lb::cli
