// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/hashing.hpp"
#include "model/service.hpp"

namespace lb::engine {
namespace {

constexpr std::uint32_t kFallback = model::kServiceSched1;
constexpr std::uint32_t kWithPort = model::kServiceSched2;

/// sh: a fixed destination for each client (with sh-port: client and port), out of a table in
/// which each destination takes as many neighbouring places as its weight says, at least one.
class SourceHash final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext& context) override {
    fill(context);
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    std::uint32_t key = folded(input.client, input.client.family());
    if ((context.flags & kWithPort) != 0 && has_ports(input.protocol)) {
      key += input.client_port.to_host();
    }
    const std::uint32_t first = golden_hash_8(key);
    Destination* destination = table_[first];
    if (destination == nullptr || destination->is_usable()) return destination;
    return (context.flags & kFallback) != 0 ? next_usable(first) : nullptr;
  }

  void destination_added(const SchedulingContext& context, Destination&) override { fill(context); }
  void destination_removed(const SchedulingContext& context, Destination&) override {
    fill(context);
  }
  void destination_updated(const SchedulingContext& context, Destination&) override {
    fill(context);
  }

 private:
  /// The first usable destination on the way through the whole table. The way starts at twice
  /// the first place: the kernel adds the place to the hash once more, visible in where the
  /// clients of a lost server go.
  [[nodiscard]] Destination* next_usable(std::uint32_t first) const noexcept {
    for (std::size_t step = 0; step < table_.size(); ++step) {
      Destination* destination = table_[(first + first + step) % table_.size()];
      if (destination->is_usable()) return destination;
    }
    return nullptr;
  }

  void fill(const SchedulingContext& context) noexcept {
    table_.fill(nullptr);
    const auto list = context.destinations;
    if (list.empty()) return;
    std::size_t current = 0;
    std::int32_t taken = 0;
    for (Destination*& place : table_) {
      place = list[current];
      if (++taken >= list[current]->weight()) {
        current = (current + 1) % list.size();
        taken = 0;
      }
    }
  }

  std::array<Destination*, 256> table_{};  ///< full, or empty if there are no destinations
};

}  // namespace

std::unique_ptr<Scheduler> make_source_hash() { return std::make_unique<SourceHash>(); }

}  // namespace lb::engine
