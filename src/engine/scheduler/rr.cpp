// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>

#include "engine/scheduler/factories.hpp"

namespace lb::engine {
namespace {

/// rr: the next usable destination after the one chosen last.
class RoundRobin final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext&) override {
    last_ = nullptr;
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput&) noexcept override {
    const auto list = context.destinations;
    std::size_t next = last_ == nullptr ? 0 : index_ + 1;
    for (std::size_t tried = 0; tried < list.size(); ++tried, ++next) {
      if (next >= list.size()) next = 0;
      if (list[next]->is_usable()) {
        last_ = list[next];
        index_ = next;
        return last_;
      }
    }
    return nullptr;
  }

  void destination_added(const SchedulingContext& context, Destination&) override {
    locate(context);
  }

  /// A removed cursor steps back, so that the destination after it is the next one still.
  void destination_removed(const SchedulingContext& context, Destination& destination) override {
    if (&destination != last_) {
      locate(context);
    } else if (index_ == 0 || index_ > context.destinations.size()) {
      last_ = nullptr;
    } else {
      last_ = context.destinations[--index_];
    }
  }

 private:
  void locate(const SchedulingContext& context) noexcept {
    const auto list = context.destinations;
    const auto found = std::find(list.begin(), list.end(), last_);
    if (found == list.end()) {
      last_ = nullptr;
    } else {
      index_ = static_cast<std::size_t>(found - list.begin());
    }
  }

  Destination* last_ = nullptr;  ///< null: before the first
  std::size_t index_ = 0;        ///< of `last_` in the list
};

}  // namespace

std::unique_ptr<Scheduler> make_round_robin() { return std::make_unique<RoundRobin>(); }

}  // namespace lb::engine
