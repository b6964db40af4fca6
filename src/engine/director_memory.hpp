// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bpf/flow_abi.h"
#include "engine/connection_table.hpp"
#include "engine/endpoint_table.hpp"
#include "engine/settings.hpp"
#include "model/destination.hpp"
#include "model/mark_rule.hpp"
#include "model/service.hpp"
#include "model/service_options.hpp"
#include "model/snat.hpp"
#include "model/statistics.hpp"

namespace lb::engine {

/// A service as the next director finds it.
struct SavedService {
  std::uint64_t serial = 0;  ///< rises with every new service: the order of listings
  model::ServiceSpec spec;
  model::ServiceOptions options;
  model::Counters counters;
  std::uint32_t committed = 0;  ///< written last; 0: free
};

/// A destination, by its id. Removed ones are kept as long as connections refer to them.
struct SavedDestination {
  std::uint64_t order = 0;  ///< rises with every destination put into a service
  std::uint64_t service_serial = 0;
  model::ServiceKey service;
  model::DestinationSpec spec;
  std::int32_t last_weight = 0;
  model::Counters counters;
  flow_counters fast{};  ///< what of XDP's counters is in `counters`
  std::uint32_t is_available = 0;
  std::uint32_t committed = 0;
};

struct SavedSettings {
  Settings settings;
  model::Timeouts timeouts;
  std::uint32_t committed = 0;
};

/// An entry that is about to be written in its place: who finds it writes it there again.
struct SavedAside {
  static constexpr std::size_t kSize = 256;
  enum class Kind : std::uint32_t { kNone, kService, kDestination, kSettings };
  alignas(8) std::array<std::byte, kSize> entry{};
  std::uint32_t index = 0;
  Kind kind = Kind::kNone;  ///< written last
};

/// Which mark rules count: a count and, in the top bit, which of the two tables they are in.
struct SavedRuleCount {
  static constexpr std::uint32_t kSecondTable = 1U << 31;
  std::uint32_t word = 0;
  [[nodiscard]] std::uint32_t count() const noexcept { return word & ~kSecondTable; }
  [[nodiscard]] std::uint32_t table() const noexcept { return word >> 31U; }
};

/// A SNAT rule, by its slot. Its counters are those of its destination. Never written over: a slot
/// is free, or holds one rule.
struct SavedSnatRule {
  model::SnatRule rule;
  std::uint32_t destination = 0;  ///< number of the one that keeps its account
  std::uint32_t committed = 0;    ///< written last
};

struct SavedGlobals {
  std::uint64_t layout = 0;  ///< DirectorMemory::kLayout, once all is set up
  std::uint32_t connections = 0;
  SavedRuleCount mark_rules;
  SavedSettings settings;
  model::Counters totals;
  SavedAside aside;
};

/// Memory that outlives the process: a director leaves there, at every moment, all that its
/// successor needs to go on. Without it (all empty) the director keeps to its own memory.
///
/// The process may end at any instruction, and nothing that was acknowledged is lost by it: a
/// connection has a commit word that is written last; what is written over is written aside first
/// (SavedAside); lists change in a second table. Everything else (hash chains, timers, counts) is
/// made anew.
struct DirectorMemory {
  /// Of services and destinations that are remembered; those beyond are not.
  static constexpr std::size_t kServices = 1U << 15;
  static constexpr std::size_t kDestinations = 1U << 17;
  static constexpr std::size_t kMarkRules = 1U << 14;
  static constexpr std::size_t kSnatRules = 1025;  ///< slot 0 is none
  /// Changes with every struct that lies in the memory: another build does not misread it.
  static constexpr std::uint64_t kLayout =
      3 + sizeof(model::MarkRule) * 977 + sizeof(SavedSnatRule) * 613 +
      (sizeof(ConnectionRecord) << 8U) + (sizeof(EndpointTable::Entry) << 16U) +
      (sizeof(SavedService) << 24U) + (sizeof(SavedDestination) << 36U) +
      (std::uint64_t{sizeof(SavedGlobals)} << 48U) + FLOW_LAYOUT;

  std::span<ConnectionRecord> records;  ///< one more than connections
  std::span<EndpointTable::Entry> virtual_ends;
  std::span<EndpointTable::Entry> real_ends;
  /// What gives memory to the endpoints; null: all have it.
  EndpointRoom* virtual_room = nullptr;
  EndpointRoom* real_room = nullptr;
  std::span<SavedService> services;
  std::span<SavedDestination> destinations;
  std::span<model::MarkRule> mark_rules;  ///< two tables, each in the order of the rules
  std::span<SavedSnatRule> snat_rules;    ///< by slot
  SavedGlobals* globals = nullptr;

  /// Entries that the endpoint tables of a director with so many connections have.
  [[nodiscard]] static constexpr std::size_t endpoints_for(std::size_t connections) noexcept {
    return connections + kConfiguredEndpoints + 1;
  }
  /// Besides one endpoint a connection there is one for every service and destination.
  static constexpr std::uint32_t kConfiguredEndpoints = 1U << 17;
  /// True if a director left something here that this build can take over.
  [[nodiscard]] bool is_adoptable() const noexcept {
    return globals != nullptr && globals->layout == kLayout &&
           globals->connections + std::size_t{1} == records.size();
  }
};
static_assert(sizeof(SavedService) <= SavedAside::kSize &&
              sizeof(SavedDestination) <= SavedAside::kSize &&
              sizeof(SavedSettings) <= SavedAside::kSize);
static_assert(std::is_trivially_copyable_v<SavedService>);
static_assert(std::is_trivially_copyable_v<SavedDestination>);
static_assert(std::is_trivially_copyable_v<SavedGlobals>);
static_assert(std::is_trivially_copyable_v<model::MarkRule>);
static_assert(std::is_trivially_copyable_v<SavedSnatRule>);

/// What a director took over from the one before it.
struct Adoption {
  std::size_t services = 0;
  std::size_t destinations = 0;
  std::size_t connections = 0;
  std::size_t lost = 0;   ///< connections that could not be taken over
  std::size_t flows = 0;  ///< of them published to XDP
};

}  // namespace lb::engine
