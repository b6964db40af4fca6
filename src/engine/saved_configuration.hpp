// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "engine/director_memory.hpp"
#include "engine/mark_rules.hpp"
#include "engine/service_table.hpp"
#include "engine/snat_rules.hpp"

namespace lb::engine {

/// Writes every change of the configuration into memory that outlives the process, before the
/// change is acknowledged. Does nothing without such memory.
class SavedConfiguration {
 public:
  explicit SavedConfiguration(const DirectorMemory& memory);

  /// The memory is this director's now, and has nothing in it.
  void begin() noexcept;
  /// The process before may have ended in the middle of a change: completes it.
  void end_interrupted() noexcept;
  void save(Service& service) noexcept;
  void forget(const Service& service) noexcept;
  /// `fast`: what of XDP's counters is in the destination's.
  void save(const Destination& destination, const flow_counters& fast) noexcept;
  void forget_destination(std::uint32_t id) noexcept;
  void save(const Settings& settings, const model::Timeouts& timeouts) noexcept;
  void save(const model::Counters& totals) noexcept;
  /// Rules from position `from` on have changed.
  void save(const MarkRules& rules, std::size_t from) noexcept;
  void save(const SnatEntry& entry) noexcept;
  void forget_snat_rule(std::uint32_t slot) noexcept;

  [[nodiscard]] const DirectorMemory& memory() const noexcept { return memory_; }
  /// The slot of an adopted service is in use.
  void adopt(Service& service, std::uint32_t slot) noexcept;

 private:
  DirectorMemory memory_;
  std::vector<std::uint32_t> free_;  // slots of services that were given back
  std::uint32_t next_fresh_ = 1;     // 0 is none
};

}  // namespace lb::engine
