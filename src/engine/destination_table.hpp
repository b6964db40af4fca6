// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_set.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/destination.hpp"

namespace lb::engine {

/// Every destination under a stable number, those in a service and those removed from one.
///
/// A removed destination stays (in the "trash") while connections refer to it and two minutes
/// longer: when the same one is added again to the same service, it comes back with its
/// connections and counters. This is what lets a health checker take a server out and put it back.
class DestinationTable {
 public:
  DestinationTable() : destinations_(1) {}

  /// Makes a destination for a service; the caller puts it into the service's list.
  Destination& create(const model::ServiceKey& service, const model::DestinationSpec& spec);
  /// The destination of a number in use.
  [[nodiscard]] Destination& at(std::uint32_t id) noexcept { return *destinations_[id]; }
  [[nodiscard]] const Destination& at(std::uint32_t id) const noexcept {
    return *destinations_[id];
  }
  /// Whether a destination in use is reached by such a tunnel to `end`; the port matters for GUE.
  /// Looks at each: for errors about packets of servers that were removed.
  [[nodiscard]] bool has_tunnel(const net::IpAddress& end, model::TunnelType type,
                                net::Port port) const noexcept;
  /// Makes the destination of a number that an earlier director gave it; the number must be free.
  Destination& restore(std::uint32_t id, const model::ServiceKey& service,
                       const model::DestinationSpec& spec);
  /// Numbers between restored ones are free from now on.
  void end_restoring();
  [[nodiscard]] bool contains(std::uint32_t id) const noexcept {
    return id < destinations_.size() && destinations_[id] != nullptr;
  }
  /// One past the highest number.
  [[nodiscard]] std::uint32_t end() const noexcept {
    return static_cast<std::uint32_t>(destinations_.size());
  }
  /// Puts a removed destination aside.
  void discard(Destination& destination, Timestamp now);
  /// Takes a destination that was removed from `service` back out of the trash; null if there is
  /// none.
  [[nodiscard]] Destination* revive(const model::ServiceKey& service, const net::Endpoint& end);
  /// Frees what nobody has referred to for two minutes, and returns the numbers. To be called once
  /// a minute.
  [[nodiscard]] std::vector<std::uint32_t> sweep(Timestamp now);
  /// How many removed destinations `revive` has compared so far.
  [[nodiscard]] std::uint64_t compared() const noexcept { return *compared_; }

 private:
  struct TrashHash {
    std::size_t operator()(const Destination* destination) const noexcept;
  };
  // A health checker may take out a hundred thousand at once, and put them back.
  struct IsSame {
    std::uint64_t* compared;
    bool operator()(const Destination* a, const Destination* b) const noexcept;
  };

  std::vector<std::unique_ptr<Destination>> destinations_;  // by id; 0 unused
  std::vector<std::uint32_t> free_;
  std::unique_ptr<std::uint64_t> compared_ = std::make_unique<std::uint64_t>(0);
  tsl::robin_set<Destination*, TrashHash, IsSame> trash_{0, TrashHash(), IsSame{compared_.get()}};
};

}  // namespace lb::engine
