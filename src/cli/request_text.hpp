// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "net/result.hpp"

namespace lb::cli {

/// The sentence for a request (a whole message) that was answered with `error`.
[[nodiscard]] std::string refusal_text(std::span<const std::byte> request, Error error);

}  // namespace lb::cli
