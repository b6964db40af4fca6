// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace lb::datapath {

/// A value, or a sentence for the operator: what failed, where, what to do.
template <class T>
using Outcome = tl::expected<T, std::string>;

/// A sentence of the form "<what>: <the system's error text>".
[[nodiscard]] inline tl::unexpected<std::string> system_failure(std::string_view what, int error) {
  const bool is_files = error == EMFILE || error == ENFILE;
  return tl::unexpected(fmt::format("{}: {}{}", what, std::strerror(error),
                                    is_files ? "; allow more open files (ulimit -n)" : ""));
}

}  // namespace lb::datapath
