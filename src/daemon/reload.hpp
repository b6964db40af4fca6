// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "daemon/configuration.hpp"
#include "engine/settings.hpp"

namespace lb::daemon {

/// What becomes of a configuration that is read again while the daemon works.
struct Reload {
  std::vector<std::string> applied;       ///< keys of the file that differ and can be changed
  std::vector<std::string> need_restart;  ///< keys that differ and can't
};

/// Compares the configuration in force with the one read now.
[[nodiscard]] Reload compare(const Configuration& old, const Configuration& fresh);

/// `current` with those settings changed that differ between the two configurations: what an
/// administrator set at run time stays, unless the file says something new about it.
[[nodiscard]] engine::Settings merge_settings(const engine::Settings& current,
                                              const engine::Settings& old,
                                              const engine::Settings& fresh);

}  // namespace lb::daemon
