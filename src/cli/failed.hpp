// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cli/ipvsadm.hpp"
#include "net/result.hpp"

/// How commands of `sluice` end that could not do what they were asked.
namespace lb::cli {

inline constexpr int kWrongUsage = 2;  ///< exit status for a command line that makes no sense

/// Says "sluice: REASON" on the error stream.
[[nodiscard]] ProgramResult failed(std::string_view reason, int exit_status = 1);

/// The director could not be asked.
[[nodiscard]] ProgramResult not_answered(Error error);
/// Why it did not answer, in a sentence.
[[nodiscard]] std::string unanswered_text(Error error);

/// Why the director refused a change of mark rules or rules of source NAT.
[[nodiscard]] std::string rule_refusal_text(Error error);

}  // namespace lb::cli
