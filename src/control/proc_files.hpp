// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/director.hpp"

namespace lb::control {

/// What a file of IPVS under /proc would say of this director: /proc/net/ip_vs (services and
/// servers, addresses in hexadecimal) and /proc/net/ip_vs_stats (totals and rates in hexadecimal).
/// Null for any other path.
[[nodiscard]] std::optional<std::string> proc_file(const engine::Director& director,
                                                   std::string_view path);

}  // namespace lb::control
