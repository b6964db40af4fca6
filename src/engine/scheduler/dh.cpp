// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/hashing.hpp"

namespace lb::engine {
namespace {

/// dh: a fixed destination for each virtual address, out of a table that the destinations fill in
/// turn. Weights only tell whether a destination is usable. If it is not, the connection is
/// refused: sending it elsewhere would defeat the purpose (a cache for each address).
class DestinationHash final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext& context) override {
    fill(context);
    return {};
  }

  Destination* schedule(const SchedulingContext&, const SchedulingInput& input) noexcept override {
    const auto& address = input.virtual_address;
    Destination* destination = table_[golden_hash_8(folded(address, address.family()))];
    return destination != nullptr && destination->is_usable() ? destination : nullptr;
  }

  void destination_added(const SchedulingContext& context, Destination&) override { fill(context); }
  void destination_removed(const SchedulingContext& context, Destination&) override {
    fill(context);
  }

 private:
  void fill(const SchedulingContext& context) noexcept {
    const auto list = context.destinations;
    for (std::size_t i = 0; i < table_.size(); ++i) {
      table_[i] = list.empty() ? nullptr : list[i % list.size()];
    }
  }

  std::array<Destination*, 256> table_{};
};

}  // namespace

std::unique_ptr<Scheduler> make_destination_hash() { return std::make_unique<DestinationHash>(); }

}  // namespace lb::engine
