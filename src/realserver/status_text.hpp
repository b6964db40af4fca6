// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "realserver/journal.hpp"
#include "realserver/plan.hpp"

namespace lb::realserver {

/// What is set up, and what `plan`, made now, finds missing. `is_fine`: nothing is.
void print_status(const Journal& journal, const Plan& plan, bool is_fine);
/// The same as a JSON object.
[[nodiscard]] std::string status_json(const Journal& journal, const Plan& plan, bool is_fine);

}  // namespace lb::realserver
