// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace lb::host {

/// A value, or a sentence for an operator: what failed, why, what to do.
template <class T>
using Outcome = tl::expected<T, std::string>;

[[nodiscard]] inline tl::unexpected<std::string> trouble(std::string sentence) {
  return tl::unexpected(std::move(sentence));
}

/// "WHAT: REASON", where the reason is that of errno value `code`, with the remedy if it is a
/// missing privilege.
[[nodiscard]] tl::unexpected<std::string> system_trouble(std::string what, int code);

}  // namespace lb::host
