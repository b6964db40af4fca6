// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "engine/scheduler/factories.hpp"
#include "engine/scheduler/hashing.hpp"
#include "engine/siphash.hpp"
#include "model/service.hpp"

namespace lb::engine {
namespace {

constexpr std::uint32_t kFallback = model::kServiceSched1;
constexpr std::uint32_t kWithPort = model::kServiceSched2;

/// Places in the table: a prime, so that every step width visits all of them. The size that
/// kernels are built with by default; another one would send clients elsewhere.
constexpr std::uint32_t kTableSize = 4093;
/// Weights are scaled down to fewer bits than this, so that one round does not fill the table.
constexpr int kWeightBits = 6;
/// Both halves of the two hash keys, fixed in the kernel: directors agree on the table.
constexpr std::uint64_t kPlaceKey = 2654435761;
constexpr std::uint64_t kStepKey = 2654446892;

/// The kernel's hsiphash of one 32-bit number on 64-bit machines.
[[nodiscard]] std::uint32_t hash(std::uint32_t value, std::uint64_t key) noexcept {
  return static_cast<std::uint32_t>(SipHash13({key, key}).finish(value, sizeof value));
}

/// mh: Maglev hashing (Eisenbud et al., "Maglev", NSDI 2016, section 3.4) of the client, with
/// mh-port of client and port.
///
/// Each destination has its own order of all places, from a first place and a step width. They
/// take turns in claiming the next free place in their order, a heavier one several at a turn,
/// so that little moves when a destination comes or goes. A weight of 0 moves nothing: the
/// table is made of the last weights that were not.
class MaglevHash final : public Scheduler {
 public:
  Result<void> bind(const SchedulingContext& context) override {
    if (context.destinations.size() > kTableSize) return failure(EINVAL);
    fill(context);
    return {};
  }

  Destination* schedule(const SchedulingContext& context,
                        const SchedulingInput& input) noexcept override {
    if (table_.empty()) return nullptr;
    std::uint32_t key = folded(input.client, input.client.family());
    if ((context.flags & kWithPort) != 0 && has_ports(input.protocol)) {
      key += input.client_port.to_host();
    }
    const std::uint32_t first = hash(key, kPlaceKey) % kTableSize;
    Destination* destination = table_[first];
    if (destination == nullptr || destination->is_usable()) return destination;
    return (context.flags & kFallback) != 0 ? next_usable(key, first) : nullptr;
  }

  void destination_added(const SchedulingContext& context, Destination&) override {
    change(context);
  }
  void destination_removed(const SchedulingContext& context, Destination& destination) override {
    std::replace(table_.begin(), table_.end(), &destination, static_cast<Destination*>(nullptr));
    change(context);
  }
  void destination_updated(const SchedulingContext& context, Destination&) override {
    change(context);
  }

 private:
  struct Claimant {
    Destination* destination = nullptr;
    std::uint32_t place = 0;
    std::uint32_t step = 0;
    std::int32_t turns = 0;
  };

  /// Rehashes with the place number added until it meets a usable destination.
  [[nodiscard]] Destination* next_usable(std::uint32_t key, std::uint32_t first) const noexcept {
    for (std::uint32_t i = 0; i < kTableSize; ++i) {
      const std::uint32_t offset = (first + i) % kTableSize;
      Destination* destination = table_[hash(key + offset, kPlaceKey) % kTableSize];
      if (destination == nullptr || destination->is_usable()) return destination;
    }
    return nullptr;
  }

  /// With more destinations than places the table stays as it is, as in the kernel.
  void change(const SchedulingContext& context) {
    if (context.destinations.size() <= kTableSize) fill(context);
  }

  void fill(const SchedulingContext& context) {
    table_.assign(kTableSize, nullptr);
    std::vector<Claimant> claimants = claimants_of(context);
    if (claimants.empty()) return;
    std::uint32_t left = kTableSize;
    for (;;) {
      for (Claimant& claimant : claimants) {
        for (std::int32_t turn = 0; turn < claimant.turns; ++turn) {
          while (table_[claimant.place] != nullptr) {
            claimant.place = (claimant.place + claimant.step) % kTableSize;
          }
          table_[claimant.place] = claimant.destination;
          if (--left == 0) return;
        }
      }
    }
  }

  /// Those that ever had a weight, newest first.
  [[nodiscard]] static std::vector<Claimant> claimants_of(const SchedulingContext& context) {
    std::int32_t divisor = 0;
    std::int32_t greatest = 0;
    for (const Destination* destination : context.destinations) {
      divisor = std::gcd(divisor, std::max(destination->last_weight, 0));
      greatest = std::max(greatest, destination->last_weight);
    }
    std::vector<Claimant> claimants;
    if (divisor == 0) return claimants;
    const int bits = std::bit_width(static_cast<std::uint32_t>(greatest / divisor));
    const int shift = std::max(bits - kWeightBits, 0);
    claimants.reserve(context.destinations.size());
    for (Destination* destination : context.destinations) {
      if (destination->last_weight <= 0) continue;
      const std::uint32_t key = folded(destination->spec.address, destination->service_key.family) +
                                destination->spec.port.to_host();
      claimants.push_back({.destination = destination,
                           .place = hash(key, kPlaceKey) % kTableSize,
                           .step = hash(key, kStepKey) % (kTableSize - 1) + 1,
                           .turns = std::max((destination->last_weight / divisor) >> shift, 1)});
    }
    return claimants;
  }

  std::vector<Destination*> table_;
};

}  // namespace

std::unique_ptr<Scheduler> make_maglev_hash() { return std::make_unique<MaglevHash>(); }

}  // namespace lb::engine
