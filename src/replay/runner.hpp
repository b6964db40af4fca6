// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "replay/case_file.hpp"

namespace lb::replay {

/// A step that gave something else than was recorded.
struct Difference {
  std::size_t line = 0;  ///< of the case's file; 0: the case as a whole
  std::string step;      ///< what was done
  std::string expected;
  std::string got;
};

struct CaseResult {
  std::string id;
  std::vector<Difference> differences;
  /// Steps that pass but prove less than they could, for instance a packet that the engine gave
  /// to the host where the recording only shows that nothing left.
  std::vector<std::string> remarks;
  [[nodiscard]] bool passed() const noexcept { return differences.empty(); }
};

/// Plays a recorded case to a new director, step by step, and compares all that comes out.
/// Goes on after a difference, so that the result tells all of them.
[[nodiscard]] CaseResult run_case(const Case& recorded);

}  // namespace lb::replay
