// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/connections.hpp"
#include "engine/director_memory.hpp"
#include "engine/flow/fast_path_status.hpp"
#include "engine/flow/flow_ends.hpp"
#include "engine/flow/flow_hops.hpp"
#include "engine/flow/flow_table.hpp"
#include "engine/network_view.hpp"
#include "engine/settings.hpp"
#include "engine/zeroed_array.hpp"

namespace lb::engine {

/// Publishes connections to XDP, which then forwards their plain packets by itself.
///
/// A cache of what the engine would do, never more: a connection is offered after each of its
/// packets that the engine forwards, and published if the next plain one needs nothing but the same
/// rewrite. What is missing or out of date in the table costs a packet its short way, and the offer
/// that follows puts it right. Connections with a helper, of one packet, with a half-known client
/// or a missing server stay with the engine.
class FastPath {
 public:
  /// Longest idle time of a published connection: ages of flows count modulo five hours.
  static constexpr std::uint32_t kLongestTimeout = 4 * 3600;

  /// All that is handed in must outlive this; `memory.settings` gets a layout and no flows.
  FastPath(const FlowMemory& memory, Connections& connections, DestinationTable& destinations,
           NetworkView& network, const Settings& settings, RateEstimator& totals,
           const std::uint64_t& estimation_tick);
  ~FastPath();
  FastPath(const FastPath&) = delete;
  FastPath& operator=(const FastPath&) = delete;

  /// Takes over what an earlier director published of connections that this one has adopted; their
  /// packets go on meanwhile. `saved` says what of XDP's counters has been added already.
  /// What `keep` holds of numbers and targets stays as it is, too.
  template <class Keep>
  void adopt(std::span<const SavedDestination> saved, Timestamp now, Keep keep) {
    begin_adoption(saved, now);
    keep();
    ends_.end_adoption(now);
    hops_.end_adoption(now);
  }
  /// What has been added so far of what XDP counted for a destination.
  [[nodiscard]] flow_counters counted(std::uint32_t id) const noexcept {
    return id < counted_.size() ? counted_[id] : flow_counters{};
  }

  /// Whether XDP uses the table; both ways at any time.
  void enable(bool enabled) noexcept;
  [[nodiscard]] FlowHops& hops() noexcept { return hops_; }
  [[nodiscard]] FastPathStatus status() const noexcept;

  /// A packet of connection `id` (with `is_reply`: an answer) went its way.
  void offer(ConnectionId id, bool is_reply, Timestamp now) noexcept;
  /// Takes the connection out of the table. Its destination must still be bound.
  void withdraw(ConnectionId id, Timestamp now) noexcept;
  /// A connection with the reply tuple of `record` is made: answers are its from now on, not those
  /// of an older one (until it goes).
  void displace_reply(const ConnectionRecord& record, Timestamp now) noexcept;
  /// Moves the connection's expiry on if XDP has forwarded packets of it meanwhile.
  void refresh_expiry(ConnectionId id, Timestamp now) noexcept;

  /// What packets to `destination` need has changed, or it went out of service.
  void destination_changed(Destination& destination, Timestamp now) noexcept;
  /// Settings that packets are forwarded by may have changed.
  void settings_changed() noexcept { ++generation_; }
  /// Adds what XDP has counted for `destination` to its statistics, its service's and the totals.
  void count(Destination& destination) noexcept;
  /// As `count`, for all.
  void count_all() noexcept;
  /// For what is published besides flows.
  [[nodiscard]] FlowEnds& ends() noexcept { return ends_; }
  /// Keeps what packets need to get to a destination in the table until it is released as often.
  [[nodiscard]] bool can_hold(std::uint32_t id) const noexcept { return id < targets_.size(); }
  void retain_target(Destination& destination, Timestamp now) noexcept;
  void release_target(std::uint32_t id, Timestamp now) noexcept;
  /// When a flow of that age had its last packet, on the time line of records.
  [[nodiscard]] std::int64_t last_seen_ms(std::uint64_t words, Timestamp now) const noexcept;
  /// There is an engine: packets may be handed to it.
  void be_alive(Timestamp now) noexcept;
  /// CLOCK_MONOTONIC in 2^FLOW_ALIVE_SHIFT ns.
  [[nodiscard]] std::uint64_t second(Timestamp now) const noexcept {
    return clock(now) >> FLOW_ALIVE_SHIFT;
  }

  /// Follows changes of the network and counts, a bounded number of destinations a call. True if
  /// some have yet to follow a change.
  bool advance(Timestamp now) noexcept;

 private:
  struct TargetUse {
    std::uint32_t flows = 0;
    std::uint32_t hop = 0;         // number; holds a reference
    std::uint32_t place = 0;       // in active_
    std::uint64_t generation = 0;  // of all it depends on, when it was written
  };
  void follow_network() noexcept;
  [[nodiscard]] bool is_ours(const FlowKey& key) noexcept;
  void adopt_connection(ConnectionId id, Timestamp now) noexcept;
  [[nodiscard]] bool is_plain(ConnectionId id) noexcept;
  [[nodiscard]] bool is_between_servers(const ConnectionRecord& record) const noexcept;
  void offer_request(ConnectionId id, Timestamp now) noexcept;
  void offer_inward(ConnectionId id, Timestamp now) noexcept;
  void offer_reply(ConnectionId id, Timestamp now) noexcept;
  [[nodiscard]] std::optional<NextHop> plain_hop(const net::IpAddress& address) const noexcept;
  [[nodiscard]] std::uint64_t request_words(const ConnectionRecord& record) const noexcept;
  void withdraw_request(ConnectionRecord& record, Timestamp now) noexcept;
  void withdraw_reply(ConnectionRecord& record, Timestamp now) noexcept;
  [[nodiscard]] std::uint64_t reply_words(const ConnectionRecord& record) const noexcept;
  void erase_reply(const ConnectionRecord& record, std::uint64_t words, Timestamp now) noexcept;
  [[nodiscard]] FlowEnd virtual_end(const ConnectionRecord& record) const noexcept;
  [[nodiscard]] FlowEnd real_end(const ConnectionRecord& record) const noexcept;
  void begin_adoption(std::span<const SavedDestination> saved, Timestamp now) noexcept;
  void write_target(Destination& destination, Timestamp now) noexcept;
  [[nodiscard]] flow_target describe(Destination& destination, std::uint32_t& hop,
                                     Timestamp now) noexcept;
  [[nodiscard]] std::uint64_t clock(Timestamp now) const noexcept;

  const FlowMemory memory_;
  Connections& connections_;
  DestinationTable& destinations_;
  NetworkView& network_;
  const Settings& settings_;
  RateEstimator& totals_;
  const std::uint64_t& estimation_tick_;
  FlowTable flows_;
  FlowEnds ends_;
  FlowHops hops_;
  std::vector<TargetUse> targets_;        // by id of the destination
  std::vector<std::uint32_t> active_;     // ids of targets with flows
  ZeroedArray<flow_counters> counted_;    // by id: what has been added so far
  std::size_t cursor_ = 0;                // of active_
  std::uint64_t network_generation_ = 0;  // as the hops show it
  std::uint64_t generation_ = 1;          // raised when all targets must be looked at
  std::uint64_t seen_generation_ = 1;     // by advance
  std::size_t outdated_ = 0;              // targets that advance has yet to look at for it
  Timestamp next_piece_{};                // when some are looked at without a change
  std::uint64_t refused_ = 0;
  bool is_enabled_ = false;
};

}  // namespace lb::engine
