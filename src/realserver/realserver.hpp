// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace lb::realserver {

/// Runs `sluice realserver`: `arguments` are its words from "realserver" on, for example
/// {"realserver", "decap", "--interface", "eth0"}. Prints, and returns the exit status.
[[nodiscard]] int main(std::span<const std::string> arguments);

}  // namespace lb::realserver
