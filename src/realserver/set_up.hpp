// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "host/outcome.hpp"
#include "realserver/up_options.hpp"

/// The commands of `sluice realserver` that change and show the set-up. Each prints and returns the
/// exit status.
namespace lb::realserver {

[[nodiscard]] int bring_up(const UpOptions& options);
[[nodiscard]] int take_down(const UpOptions& options);
[[nodiscard]] int show_status(const UpOptions& options);

/// What this host is set up for by `up` with its changes written down in `folder`; null: nothing.
[[nodiscard]] host::Outcome<std::optional<Setup>> present_setup(
    const std::filesystem::path& folder);

}  // namespace lb::realserver
