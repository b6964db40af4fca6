// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "replay/case_file.hpp"

namespace lb::replay {

/// Cases that are known not to pass, each with the reason: `case-id  reason`, one a line; lines
/// that start with `#` are comments. A case without a reason, or listed twice, is an error.
using Exceptions = std::map<std::string, std::string, std::less<>>;

[[nodiscard]] tl::expected<Exceptions, FileError> parse_exceptions(std::string_view text,
                                                                   const std::string& name);
[[nodiscard]] tl::expected<Exceptions, FileError> load_exceptions(const std::string& path);

}  // namespace lb::replay
