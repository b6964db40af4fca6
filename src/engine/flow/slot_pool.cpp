// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/slot_pool.hpp"

#include <algorithm>

#include "engine/flow/flow_ends.hpp"

namespace lb::engine {

std::size_t SlotPool::class_of(std::uint32_t size) noexcept {
  return static_cast<std::size_t>(std::find(kSizes.begin(), kSizes.end(), size) - kSizes.begin());
}

SlotPool::Run SlotPool::take(std::uint32_t size, Timestamp now) {
  while (!resting_.empty() && now - resting_.front().since >= FlowEnds::kRest) {
    const auto& run = resting_.front().run;
    free_[class_of(run.size)].push_back(run.first);
    resting_.pop_front();
  }
  Run run{.first = 0, .size = size};
  auto& free = free_[class_of(size)];
  if (!free.empty()) {
    run.first = free.back();
    free.pop_back();
  } else if (slots_ - fresh_ >= size) {
    run.first = fresh_;
    fresh_ += size;
  } else {
    return {};
  }
  used_ += size;
  return run;
}

void SlotPool::give(const Run& run, Timestamp now) {
  if (run.size == 0) return;
  used_ -= run.size;
  resting_.push_back({.run = run, .since = now});
}

std::vector<SlotPool::Run> SlotPool::adopt(std::span<const Run> used) {
  std::vector<Run> runs(used.begin(), used.end());
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.first < b.first; });
  std::vector<Run> kept;
  for (const auto& run : runs) {
    if (class_of(run.size) == kSizes.size() || run.first < fresh_ || run.first > slots_ ||
        slots_ - run.first < run.size) {
      continue;
    }
    // What lies between is cut into the largest runs that fit.
    while (fresh_ < run.first) {
      auto size = kSizes.begin();
      for (const auto& each : kSizes) {
        if (each <= run.first - fresh_) size = &each;
      }
      free_[class_of(*size)].push_back(fresh_);
      fresh_ += *size;
    }
    fresh_ = run.first + run.size;
    used_ += run.size;
    kept.push_back(run);
  }
  return kept;
}

}  // namespace lb::engine
