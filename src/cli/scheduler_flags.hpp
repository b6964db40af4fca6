// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "cli/stop.hpp"

/// Scheduler flags by name: flag-1, flag-2, flag-3, and what sh and mh call the first two.
namespace lb::cli {

/// Reads a comma-separated list into ServiceFlag bits.
[[nodiscard]] tl::expected<std::uint32_t, Stop> parse_scheduler_flags(std::string_view scheduler,
                                                                      std::string_view text);

/// The names of the scheduler flags in `flags`, with commas.
[[nodiscard]] std::string scheduler_flags_text(std::string_view scheduler, std::uint32_t flags);

/// Whether `flags` has any scheduler flag.
[[nodiscard]] bool has_scheduler_flags(std::uint32_t flags) noexcept;

}  // namespace lb::cli
