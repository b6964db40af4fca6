// SPDX-License-Identifier: Apache-2.0
#include "replay/runner.hpp"

#include "replay/lab.hpp"
#include "replay/player.hpp"

namespace lb::replay {

CaseResult run_case(const Case& recorded) {
  CaseResult result{.id = recorded.meta.id, .differences = {}, .remarks = {}};
  auto lab = Lab::create(recorded.meta);
  if (!lab) {
    result.differences.push_back({1, "set-up", "can be built", lab.error()});
    return result;
  }
  Player player(**lab, result);
  for (const auto& step : recorded.steps) player.play(step);
  player.finish();
  return result;
}

}  // namespace lb::replay
