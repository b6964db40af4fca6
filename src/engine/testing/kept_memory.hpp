// SPDX-License-Identifier: Apache-2.0
// Memory that outlives a director, for tests: it can be copied at any moment, as if the process had
// ended there.
#pragma once

#include <utility>

#include "engine/director_memory.hpp"
#include "engine/testing/page_block.hpp"

namespace lb::engine::test {

class KeptMemory {
 public:
  explicit KeptMemory(std::size_t connections)
      : connections_(connections), block_(divide(nullptr)) {
    divide(block_.begin());
  }
  /// A copy of its own.
  KeptMemory(const KeptMemory& other) : connections_(other.connections_), block_(other.block_) {
    divide(block_.begin());
  }
  /// See PageBlock::shadow_of.
  [[nodiscard]] static KeptMemory shadow_of(const KeptMemory& other) {
    return {other.connections_, PageBlock::shadow_of(other.block_)};
  }
  KeptMemory& operator=(const KeptMemory&) = delete;
  ~KeptMemory() = default;

  [[nodiscard]] const DirectorMemory& memory() const noexcept { return view_; }
  [[nodiscard]] const DirectorMemory* operator->() const noexcept { return &view_; }
  [[nodiscard]] PageBlock& block() noexcept { return block_; }

 private:
  KeptMemory(std::size_t connections, PageBlock block)
      : connections_(connections), block_(std::move(block)) {
    divide(block_.begin());
  }
  /// Says where all lies in the block; returns the size it needs.
  std::size_t divide(std::byte* begin) {
    PageBlock::Parts parts(begin);
    const auto ends = DirectorMemory::endpoints_for(connections_);
    view_.globals = parts.take<SavedGlobals>(1).data();
    view_.records = parts.take<ConnectionRecord>(connections_ + 1);
    view_.virtual_ends = parts.take<EndpointTable::Entry>(ends);
    view_.real_ends = parts.take<EndpointTable::Entry>(ends);
    view_.services = parts.take<SavedService>(64);
    view_.destinations = parts.take<SavedDestination>(256);
    view_.mark_rules = parts.take<model::MarkRule>(32);
    view_.snat_rules = parts.take<SavedSnatRule>(16);
    return parts.used();
  }

  std::size_t connections_;
  DirectorMemory view_;
  PageBlock block_;
};

}  // namespace lb::engine::test
