// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "engine/flow/flow_memory.hpp"
#include "net/address.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// An endpoint of a flow: virtual, or that of a masqueraded real server.
struct FlowEnd {
  flow_side side = FLOW_VIRTUAL;
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint end;
};

/// Small numbers for the endpoints that published flows have, and the look-up by which XDP finds
/// them.
///
/// An endpoint has a number while a flow refers to it. A number that was given back rests before it
/// means something else: a packet that is on its way through XDP may hold it still.
class FlowEnds {
 public:
  /// Longer than any run of a program in the kernel takes.
  static constexpr Duration kRest = std::chrono::seconds(1);

  /// `memory` must outlive this.
  explicit FlowEnds(const FlowMemory& memory);

  /// The number of an endpoint; 0: it has none.
  [[nodiscard]] std::uint32_t find(const FlowEnd& end) const noexcept;
  /// Adds a reference; 0 if there is no number or no room left.
  [[nodiscard]] std::uint32_t acquire(const FlowEnd& end, Timestamp now) noexcept;
  void retain(std::uint32_t number) noexcept { ++uses_[number].references; }
  void release(std::uint32_t number, Timestamp now) noexcept;
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  /// Takes over the numbers that are in the look-up; nobody refers to them yet.
  void begin_adoption() noexcept;
  /// Gives back those that nobody has retained since.
  void end_adoption(Timestamp now) noexcept;
  /// The endpoint of a number.
  [[nodiscard]] FlowEnd describe(std::uint32_t number) const noexcept;

 private:
  struct Use {
    std::uint32_t references = 0;
    flow_side side = FLOW_VIRTUAL;
    bool is_entered = false;  // in the look-up
  };
  struct Freed {
    std::uint32_t number = 0;
    Timestamp since;
  };
  [[nodiscard]] bool enter(const FlowEnd& end, std::uint32_t number) noexcept;
  void take_out(const FlowEnd& end) noexcept;
  [[nodiscard]] std::uint32_t take_number(Timestamp now) noexcept;
  void give_number(std::uint32_t number, Timestamp now) noexcept;
  [[nodiscard]] flow_end4* slot4(const FlowEnd& end, std::uint64_t key) const noexcept;
  [[nodiscard]] flow_end6* slot6(const FlowEnd& end, bool is_free) const noexcept;

  const FlowMemory& memory_;
  std::vector<Use> uses_;     // by number
  std::vector<Freed> freed_;  // ring, oldest at the head
  std::uint32_t freed_head_ = 0;
  std::uint32_t freed_count_ = 0;
  std::uint32_t next_fresh_ = 1;
  std::uint32_t size_ = 0;
};

}  // namespace lb::engine
