// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace lb::realserver {

/// Runs `sluice realserver`: `arguments` are the words behind "realserver", for example
/// {"decap", "--interface", "eth0"}. Prints, and returns the exit status.
[[nodiscard]] int main(std::span<const std::string> arguments);

}  // namespace lb::realserver
