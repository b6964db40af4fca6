// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "realserver/up_options.hpp"

/// The commands of `sluice realserver` that change and show the set-up. Each prints and returns the
/// exit status.
namespace lb::realserver {

[[nodiscard]] int bring_up(const UpOptions& options);
[[nodiscard]] int take_down(const UpOptions& options);
[[nodiscard]] int show_status(const UpOptions& options);

}  // namespace lb::realserver
