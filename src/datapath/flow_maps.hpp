// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "datapath/datapath.hpp"
#include "datapath/outcome.hpp"
#include "datapath/pins.hpp"
#include "engine/flow/flow_memory.hpp"

struct bpf_map;
struct steer_bpf;

namespace lb::datapath {

/// The BPF arrays of the flow table, mapped into our memory.
class FlowMaps {
 public:
  /// Destinations whose connections XDP can forward; those beyond stay with the engine.
  static constexpr std::uint32_t kTargets = 1U << 17;

  /// Sizes the arrays. Before the object is loaded.
  [[nodiscard]] static Outcome<void> size(steer_bpf& object, const FlowSizes& flows,
                                          const StandInSizes& stand_in);
  /// Lets go of pinned arrays of flows that have another size than those of the object, which is
  /// sized and not loaded, and of the settings that say their size. What else is pinned goes on to
  /// be used, so the settings are returned: it lies where their secret says.
  [[nodiscard]] static std::optional<flow_settings> drop_resized(const steer_bpf& object,
                                                                 const Pins& pins);
  /// Maps the arrays of a loaded object. `before`: what drop_resized returned.
  [[nodiscard]] static Outcome<std::unique_ptr<FlowMaps>> map(
      const steer_bpf& object, const std::optional<flow_settings>& before);
  ~FlowMaps();
  FlowMaps(const FlowMaps&) = delete;
  FlowMaps& operator=(const FlowMaps&) = delete;

  /// What the engine works on; valid as long as this lives.
  [[nodiscard]] const engine::FlowMemory& memory() const noexcept { return memory_; }

 private:
  struct Mapping {
    void* begin = nullptr;
    std::size_t size = 0;
  };
  FlowMaps() = default;
  template <class Element>
  [[nodiscard]] Outcome<std::span<Element>> map_one(const bpf_map* map);

  std::vector<Mapping> mappings_;
  engine::FlowMemory memory_;
};

}  // namespace lb::datapath
