// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>

#include "doctor/facts.hpp"
#include "host/outcome.hpp"
#include "host/rtnetlink.hpp"

namespace lb::doctor {

/// Adds what a director on this host tells, if one runs.
using AskDirector = std::function<host::Outcome<void>(host::Rtnetlink& kernel, Facts& facts)>;

/// Runs `sluice doctor`: `arguments[0]` is "doctor". `ask` may be empty: only what concerns a real
/// server is looked at then. Prints, and returns the exit status: 0 nothing is wrong, 1 warnings,
/// 2 errors, 3 it could not be examined.
[[nodiscard]] int main(std::span<const std::string> arguments, const AskDirector& ask);

}  // namespace lb::doctor
