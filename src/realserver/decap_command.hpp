// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace lb::realserver {

/// `sluice realserver decap`: `arguments[0]` is "decap". Prints, and returns the exit status.
[[nodiscard]] int decap_main(std::span<const std::string> arguments);

}  // namespace lb::realserver
