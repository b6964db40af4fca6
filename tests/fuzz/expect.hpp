// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace lb::fuzz {

/// Ends the program, which is what a fuzzing engine takes for a finding, unless `holds`.
inline void expect(bool holds, std::string_view invariant) {
  if (holds) return;
  std::fprintf(stderr, "broken: %.*s\n", static_cast<int>(invariant.size()), invariant.data());
  std::abort();
}

}  // namespace lb::fuzz
