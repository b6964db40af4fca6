// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/flow/flow_memory.hpp"
#include "engine/network_view.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Numbers for the neighbours that published flows are sent to: an entry in shared memory holds
/// their hardware address, so that a change of it is one store, whatever the number of flows.
class FlowHops {
 public:
  /// `memory` and `network` must outlive this.
  FlowHops(const FlowMemory& memory, const NetworkView& network);

  /// From now on frames leave by `interface` through slot `device` of the device map. `turns`: what
  /// came in by it may leave by it without the map (XDP_TX).
  void add_device(InterfaceId interface, std::uint16_t device, bool turns) noexcept;
  /// Frames can't be sent out of `interface` by XDP (any more).
  void remove_device(InterfaceId interface) noexcept;

  /// Adds a reference to the neighbour `hop` is about; 0: no number left.
  [[nodiscard]] std::uint32_t acquire(const NextHop& hop, Timestamp now) noexcept;
  void release(std::uint32_t number, Timestamp now) noexcept;
  /// True if XDP can send to it now.
  [[nodiscard]] bool is_usable(std::uint32_t number) const noexcept;
  /// True if `number` is about the neighbour of `hop`.
  [[nodiscard]] bool is_for(std::uint32_t number, const NextHop& hop) const noexcept;
  /// Leaves the numbers that an earlier director gave alone until `end_adoption`: XDP uses them.
  void begin_adoption() noexcept;
  void end_adoption(Timestamp now) noexcept;
  /// Writes all entries anew, as the network is now.
  void refresh() noexcept;

 private:
  static constexpr std::size_t kChains = 1024;
  struct Use {
    InterfaceId out = InterfaceId::kNone;
    net::IpAddress address;
    std::uint32_t references = 0;
    std::uint16_t next = 0;  // of the chain
    bool is_freed = false;   // in freed_
    Timestamp last_used{};
  };
  [[nodiscard]] static std::size_t chain_of(InterfaceId out,
                                            const net::IpAddress& address) noexcept;
  [[nodiscard]] std::uint32_t take_number(Timestamp now) noexcept;
  void put_by(std::uint32_t number) noexcept;
  void forget(std::uint32_t number) noexcept;
  void write(std::uint32_t number) noexcept;

  const FlowMemory& memory_;
  const NetworkView& network_;
  struct Device {
    InterfaceId interface = InterfaceId::kNone;
    bool turns = false;
  };
  [[nodiscard]] const Device* device_of(InterfaceId interface) const noexcept;

  std::array<Device, FLOW_DEVICES> devices_{};
  std::array<std::uint16_t, kChains> chains_{};
  std::vector<Use> uses_;  // by number
  // Numbers that may be given to other neighbours, longest unused first. Till then they are found
  // by their own again, so that a server whose connections come and go keeps its number.
  std::vector<std::uint16_t> freed_;
  std::uint32_t freed_head_ = 0;
  std::uint32_t freed_count_ = 0;
  std::uint32_t next_fresh_ = 1;
  std::uint32_t left_ = 1;  // numbers below are an earlier director's
};

}  // namespace lb::engine
