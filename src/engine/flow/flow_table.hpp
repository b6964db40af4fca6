// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/flow/flow_memory.hpp"
#include "net/address.hpp"

namespace lb::engine {

/// What a flow is found by: the client, and the number of the endpoint on the other side.
struct FlowKey {
  net::IpAddress client;
  net::Port client_port;
  std::uint32_t end = 0;  ///< 1..FLOW_ENDS-1
};

/// The published flows: buckets of one cache line in memory that XDP reads at any time.
///
/// An entry lies in the first of its two buckets unless that was full when it came. Entries are
/// never half visible: see `flow4` and `flow6`. Nothing here allocates.
class FlowTable {
 public:
  /// `memory` must outlive the table.
  explicit FlowTable(const FlowMemory& memory) noexcept : memory_(memory) {}

  /// Publishes a flow, or gives one that is there other words. False if both buckets are full.
  bool put(const FlowKey& key, std::uint64_t words) noexcept;
  /// Takes a flow out; nothing if it is not there.
  void erase(const FlowKey& key) noexcept;
  /// The words of a flow (see flow_words); 0: it is not there.
  [[nodiscard]] std::uint64_t find(const FlowKey& key) const noexcept;
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  /// Takes over the flows that an earlier director published: all those for which `keep` (given
  /// the key) is true. The others go.
  template <class Keep>
  void adopt(Keep keep) noexcept;

 private:
  bool put4(std::uint64_t key, std::uint64_t words) noexcept;
  [[nodiscard]] static FlowKey key_of(const flow4& slot) noexcept;
  [[nodiscard]] static FlowKey key_of(const flow6& slot) noexcept;
  static void clear(flow4& slot) noexcept;
  static void clear(flow6& slot) noexcept;
  [[nodiscard]] flow4* find4(const FlowKey& key) const noexcept;
  [[nodiscard]] flow6* find6(const FlowKey& key) const noexcept;
  [[nodiscard]] flow6* free6(const FlowKey& key) const noexcept;

  const FlowMemory& memory_;
  std::uint32_t size_ = 0;
};

template <class Keep>
void FlowTable::adopt(Keep keep) noexcept {
  const auto look_at = [&](auto& slot, bool is_used) {
    if (!is_used) return;
    if (keep(key_of(slot))) {
      ++size_;
    } else {
      clear(slot);
    }
  };
  for (auto& bucket : memory_.flows4) {
    for (auto& slot : bucket.slots) look_at(slot, slot.key != 0);
  }
  for (auto& bucket : memory_.flows6) {
    for (auto& slot : bucket.slots) {
      if ((slot.sequence & 1U) != 0) clear(slot);  // the process ended while it changed the entry
      look_at(slot, slot.end != 0);
    }
  }
}

}  // namespace lb::engine
