// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/connections.hpp"
#include "engine/defence.hpp"
#include "engine/destination_table.hpp"
#include "engine/director.hpp"
#include "engine/flow/fast_path.hpp"
#include "engine/flow/stand_in.hpp"
#include "engine/forward/reassembler.hpp"
#include "engine/mark_rules.hpp"
#include "engine/mark_steering.hpp"
#include "engine/rate_estimator.hpp"
#include "engine/removal.hpp"
#include "engine/saved_configuration.hpp"
#include "engine/service_table.hpp"
#include "engine/settings.hpp"
#include "engine/snat_state.hpp"
#include "engine/sync/sync_daemons.hpp"

namespace lb::engine {

/// All that a director holds. The steps of a packet's way (schedule, transmit, answer, related
/// ICMP) and the configuration are functions over it, a file each.
struct DirectorState {
  DirectorState(const DirectorOptions& options_, NetworkView& network_);

  DirectorOptions options;
  NetworkView& network;
  Settings settings;
  ServiceTable services;
  DestinationTable destinations;
  Connections connections;
  SavedConfiguration saved;
  bool is_adopted = false;          ///< took over what an earlier director left
  std::uint32_t saving_cursor = 0;  ///< of destinations whose counters are saved in turn
  MarkRules mark_rules;
  MarkSteering mark_steering;
  Snat snat;
  std::uint64_t mark_steering_generation = 0;  ///< of the network, when it was updated; 0: to do
  RateEstimator totals;
  Defence defence;
  Removal removal;
  DirectorCounters counters;
  SyncDaemons sync;
  Reassembler reassembler;
  /// Where a packet put together from fragments is worked on.
  static constexpr std::size_t kReassemblyHeadroom = 128;
  std::vector<std::byte> reassembled;
  std::optional<FastPath> fast_path;  ///< after all that it refers to
  std::optional<StandIn> stand_in;    ///< after the fast path
  Timestamp now{};
  std::size_t stand_in_cursor = 0;  ///< of services, in visit_stand_in_hops

  Timestamp next_estimate{};          ///< of rates, every 2 s
  std::uint64_t estimation_tick = 0;  ///< how often that was
  Timestamp next_save{};              ///< of a piece of the counters
  Timestamp next_sweep{};             ///< of removed destinations and scheduler caches, every 60 s
  Timestamp next_defence{};           ///< of the defence levels, every second
  Timestamp next_mark_steering{};     ///< of the addresses that mark rules concern, every second
  std::uint32_t orphan_cursor =
      0;  ///< where the walk over connections of removed destinations is; 0: none
  std::uint64_t next_serial = 1;
  std::uint16_t identification = 0;  ///< of the IPv4 headers that the director makes

  /// A backup that leaves clients' packets alone (`backup_only`), lest two directors pass one to
  /// each other for ever.
  [[nodiscard]] bool is_passive() const noexcept {
    return settings.backup_only != 0 && sync.backup.has_value();
  }
  /// Requests that are not handled here must not be forwarded by XDP either.
  [[nodiscard]] bool uses_fast_path() const noexcept {
    return settings.fast_path != 0 && !is_passive();
  }
  [[nodiscard]] net::Be16 next_identification() noexcept {
    return net::Be16::from_host(++identification);
  }
};

}  // namespace lb::engine
