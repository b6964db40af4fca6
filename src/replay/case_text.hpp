// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "replay/case_file.hpp"

namespace lb::replay {

/// Reads a case written by hand (tests/cases/README.md tells the form): the surroundings are
/// always the same, packets are in shorthand (packet_text.hpp), and what leaves is told line by
/// line. The frames expected are built in full, so they are compared to the byte.
[[nodiscard]] tl::expected<Case, FileError> parse_text_case(std::string_view text,
                                                            const std::string& name);
/// Reads one from a file.
[[nodiscard]] tl::expected<Case, FileError> load_text_case(const std::string& path);

/// The case in the form of recorded ones (JSON objects, one a line), for other players.
[[nodiscard]] std::string to_recorded_form(const Case& text_case);

}  // namespace lb::replay
