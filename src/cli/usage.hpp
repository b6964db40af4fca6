// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace lb::cli {

/// The first line of -h and all of -v: what ipvsadm 1.31 prints. Scripts look for it.
[[nodiscard]] std::string ipvsadm_version_text();
[[nodiscard]] std::string ipvsadm_usage_text(const std::string& program);
/// What ipvsadm says to a command line that does not start with a command.
[[nodiscard]] std::string ipvsadm_hint_text(const std::string& program);

}  // namespace lb::cli
