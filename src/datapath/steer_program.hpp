// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bpf/steer_abi.h"
#include "datapath/datapath.hpp"
#include "datapath/file_descriptor.hpp"
#include "datapath/flow_maps.hpp"
#include "datapath/network_changes.hpp"
#include "datapath/outcome.hpp"
#include "datapath/pins.hpp"
#include "datapath/steering_maps.hpp"

struct steer_bpf;

namespace lb::datapath {

/// The loaded BPF object: one for all interfaces. Nothing is pinned; all goes with it.
class SteerProgram {
 public:
  /// Loads programs and maps, these with room for `endpoints` endpoints a side and for `flows`.
  /// With `pins`, which must outlive it, maps that are pinned there are
  /// used again, and others are pinned.
  [[nodiscard]] static Outcome<std::unique_ptr<SteerProgram>> load(
      std::uint32_t endpoints, const FlowSizes& flows, const Pins* pins = nullptr,
      const StandInSizes& stand_in = {});
  ~SteerProgram();
  SteerProgram(const SteerProgram&) = delete;
  SteerProgram& operator=(const SteerProgram&) = delete;

  /// An XDP program on an interface, as long as it lives.
  struct Attachment {
    FileDescriptor link;
    bool is_native = false;
  };
  /// Attaches to an interface: native, and (kAuto) generic where that fails. Fails if another
  /// XDP program is there; takes the place of one that an earlier director left, without a moment
  /// in between.
  [[nodiscard]] Outcome<Attachment> attach(const LinkChange& link, XdpMode mode,
                                           const Log& log) const;

  /// Tells the programs of an interface.
  [[nodiscard]] Outcome<void> set_interface(engine::InterfaceId id,
                                            const steer_interface& interface) const;
  /// Forgets an interface; what is pinned for it goes, unless it is left for the next director.
  void remove_interface(engine::InterfaceId id) const noexcept;
  /// Tells which interface the frames of the TAP's `queue` return to.
  [[nodiscard]] Outcome<void> set_host_interface(std::uint32_t queue, engine::InterfaceId id) const;

  /// Tells the programs of the TAP: from now on answers of the host's own servers are caught.
  [[nodiscard]] Outcome<void> set_host_device(engine::InterfaceId id) const;

  /// Tells the device that published flows leave by when they name `slot`.
  [[nodiscard]] Outcome<void> set_flow_device(std::uint32_t slot, engine::InterfaceId id) const;
  /// The memory of the flow table.
  [[nodiscard]] const engine::FlowMemory& flow_memory() const noexcept {
    return flow_maps_->memory();
  }
  [[nodiscard]] int socket_map() const noexcept;
  [[nodiscard]] int xdp_program() const noexcept;
  [[nodiscard]] int return_program() const noexcept;  ///< the tc program for the TAP
  [[nodiscard]] int catch_program() const noexcept;   ///< the tc program for egress
  [[nodiscard]] int queue_program() const noexcept;   ///< picks the TAP's queue
  [[nodiscard]] SteeringMaps::Maps endpoint_maps() const noexcept;
  [[nodiscard]] const std::array<std::uint8_t, 12>& return_secret() const noexcept {
    return secret_;
  }
  /// Counters by `steer_counter`, summed over all CPUs.
  [[nodiscard]] std::array<std::uint64_t, STEER_COUNTERS> counters() const;
  /// The part of a counter that the CPU with the largest has counted.
  [[nodiscard]] std::uint64_t most_by_one(steer_counter which) const;

 private:
  SteerProgram() = default;
  /// The values of a counter; none if they can't be read.
  [[nodiscard]] std::vector<std::uint64_t> by_cpu(std::uint32_t which) const;
  [[nodiscard]] Outcome<FileDescriptor> create_link(std::uint32_t ifindex,
                                                    std::uint32_t flags) const;
  [[nodiscard]] std::optional<Attachment> take_over(std::uint32_t ifindex) const;

  const Pins* pins_ = nullptr;
  steer_bpf* object_ = nullptr;
  std::unique_ptr<FlowMaps> flow_maps_;
  std::array<std::uint8_t, 12> secret_{};
};

}  // namespace lb::datapath
