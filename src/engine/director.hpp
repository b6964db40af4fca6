// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/burst.hpp"
#include "engine/director_memory.hpp"
#include "engine/flow/fast_path_status.hpp"
#include "engine/flow/flow_memory.hpp"
#include "engine/flow/stand_in_status.hpp"
#include "engine/network_view.hpp"
#include "engine/settings.hpp"
#include "engine/sync/sync_counters.hpp"
#include "engine/sync/sync_table.hpp"
#include "engine/sync/sync_transport.hpp"
#include "engine/verdict.hpp"
#include "engine/zeroed_array.hpp"
#include "model/connection.hpp"
#include "model/destination.hpp"
#include "model/mark_rule.hpp"
#include "model/service.hpp"
#include "model/sync_daemon.hpp"
#include "net/packet.hpp"
#include "net/result.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Something packets are steered by: to a virtual service (or a connection of one), or from a
/// real server whose answers are to be translated (NAT).
struct SteeredEndpoint {
  enum class Side : std::uint8_t { kVirtual, kReal };
  Side side = Side::kVirtual;
  net::Protocol protocol = net::Protocol::kTcp;
  /// Port 0 on the virtual side: every port; with protocol kIp: every packet to the address.
  net::Endpoint end;
  friend bool operator==(const SteeredEndpoint&, const SteeredEndpoint&) = default;
};

/// Addresses that packets of source NAT are steered by. Every prefix says also what the shorter
/// ones that hold it say: the longest is all that counts.
struct SnatPrefix {
  net::IpAddress address;
  std::uint8_t length = 0;
  bool is_inside = false;   ///< packets from there may be translated
  bool is_outside = false;  ///< an address of a pool: packets to `ports` may be answers
  bool is_own = false;      ///< the host's own address: what inside hosts send there is for it
  model::PortRange ports{};
  friend bool operator==(const SnatPrefix&, const SnatPrefix&) = default;
};

/// Told of endpoints as they come into and go out of use; the data path keeps its maps by it.
class SteeringListener {
 public:
  virtual ~SteeringListener() = default;
  virtual void endpoint_added(const SteeredEndpoint& endpoint) noexcept = 0;
  virtual void endpoint_removed(const SteeredEndpoint& endpoint) noexcept = 0;
  /// These are the prefixes of source NAT from now on; none: there are no rules.
  virtual void snat_changed(std::span<const SnatPrefix> /*prefixes*/) noexcept {}
};

struct DirectorOptions {
  /// Connections (and templates) that fit; never grows.
  std::uint32_t connection_capacity = 1U << 16;
  /// Secret of the hash tables; random in the daemon, fixed in tests.
  std::array<std::uint64_t, 2> hash_key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  /// Size of the connection table that listings print ("size=4096"), as IPVS's conn_tab_bits.
  std::uint32_t shown_table_size = 4096;
  /// Names of schedulers to do without, as a kernel does whose modules are missing.
  std::vector<std::string> missing_schedulers;
  /// Told of the tables' blocks of memory before they are touched: a chance to have them in huge
  /// pages, which a large table needs.
  BlockHint block_hint = nullptr;
  /// What outlives the process; empty: nothing does. Then either `adopt` or `begin_saving` comes
  /// first of all.
  DirectorMemory memory = {};
};

struct DirectorCounters {
  std::array<std::uint64_t, kDropReasonCount> dropped{};
  std::uint64_t to_host = 0;
  std::uint64_t sent = 0;
  std::uint64_t icmp_errors_sent = 0;
  std::uint64_t connections_created = 0;
  std::uint64_t connections_expired = 0;
};

struct DirectorState;

/// The load balancer: services, destinations, connections, and what happens to a packet.
///
/// Pure: gets packets, time and configuration as arguments and returns verdicts. Not
/// thread-safe; one thread owns it and all that it holds. Nothing on the packet path
/// allocates, throws, locks or logs.
class Director {
 public:
  /// `network` must outlive the director.
  Director(const DirectorOptions& options, NetworkView& network);
  ~Director();
  Director(const Director&) = delete;
  Director& operator=(const Director&) = delete;

  /// True if a director left something in the memory that this one can take over.
  [[nodiscard]] bool can_adopt() const noexcept;
  /// Takes over services, destinations, connections, settings and counters.
  Adoption adopt(Timestamp now);
  /// Begins to leave all that in the memory, which must be zero.
  void begin_saving() noexcept;

  /// Decides about one frame that came in by `ingress` (`kHost`: sent by the host's own stack),
  /// rewriting it in place. What else leaves is added to `outputs`. Counts the verdict.
  Verdict process(net::Packet& packet, InterfaceId ingress, Timestamp now,
                  Outputs& outputs) noexcept;

  /// Looks ahead at packets that will be processed one after the other (`kBurst` of them are a
  /// good number): parses them and has what they will need brought into the caches. Changes
  /// nothing, and `process` decides about each as if it had not been called.
  void prepare(std::span<BurstPacket> burst) const noexcept;
  /// As above, for a packet that was prepared; its frame must not have changed since.
  Verdict process(BurstPacket& burst_packet, Timestamp now, Outputs& outputs) noexcept;

  /// Moves time on: expires connections, sweeps removed destinations, updates rates. Handles at
  /// most `budget` timers and returns true if some that are due remain. Call it often (every
  /// 10 ms or so); control requests see the time given last.
  bool advance(Timestamp now, std::size_t budget = SIZE_MAX) noexcept;
  [[nodiscard]] Timestamp now() const noexcept;

  // Configuration. Errors are the errno values of kernel IPVS.
  [[nodiscard]] Result<void> add_service(const model::ServiceSpec& spec);   // EEXIST ENOENT EINVAL
  [[nodiscard]] Result<void> edit_service(const model::ServiceSpec& spec);  // ESRCH ENOENT EINVAL
  [[nodiscard]] Result<void> delete_service(const model::ServiceKey& key);  // ESRCH
  void flush();
  [[nodiscard]] Result<void> add_destination(
      const model::ServiceKey& key,
      const model::DestinationSpec& spec);  // ESRCH EEXIST EINVAL ERANGE
  [[nodiscard]] Result<void> edit_destination(
      const model::ServiceKey& key,
      const model::DestinationSpec& spec);  // ESRCH ENOENT EINVAL ERANGE
  [[nodiscard]] Result<void> delete_destination(const model::ServiceKey& key,
                                                const net::Endpoint& destination);  // ESRCH ENOENT
  /// Zeroes the counters of one service with its destinations.
  [[nodiscard]] Result<void> zero(const model::ServiceKey& key);  // ESRCH
  /// Zeroes all counters.
  void zero_all();
  [[nodiscard]] model::Timeouts timeouts() const noexcept;
  /// Sets those that are not 0.
  [[nodiscard]] Result<void> set_timeouts(const model::Timeouts& timeouts);  // EINVAL
  [[nodiscard]] const Settings& settings() const noexcept;
  void set_settings(const Settings& settings) noexcept;

  // Synchronisation with other directors.
  /// What carries the messages; without it no daemon can be started (EOPNOTSUPP). It must
  /// outlive the daemons.
  void set_sync_transport(SyncTransport* transport) noexcept;
  /// Starts a daemon; what `daemon` leaves open is chosen as the kernel does.
  [[nodiscard]] Result<void> start_sync_daemon(
      const model::SyncDaemonSpec& daemon);  // EINVAL ENODEV EEXIST, and what the transport says
  [[nodiscard]] Result<void> stop_sync_daemon(model::SyncRole role);  // EINVAL ESRCH
  /// Those that run: the master first.
  [[nodiscard]] std::vector<model::SyncDaemonSpec> sync_daemons() const;
  /// A datagram that came to the backup daemon. One of a table changes no connection that had
  /// packets here since it was told of last.
  void receive_sync(std::span<const std::byte> message,
                    SyncOrigin origin = SyncOrigin::kGroup) noexcept;
  /// Writes a sync message about connections from record `cursor` (first: 0) on into `room`, which
  /// has space for one of 512 bytes at least: for a backup that asks for all. Looks at a bounded
  /// number of records.
  [[nodiscard]] SyncTablePart write_sync_table(std::uint32_t cursor,
                                               std::span<std::byte> room) noexcept;
  [[nodiscard]] const SyncCounters& sync_counters() const noexcept;

  // Mark rules: what packets that come without a mark are marked by. Positions count from 1.
  /// Puts a rule at `position`; 0: behind the last.
  [[nodiscard]] Result<void> add_mark_rule(const model::MarkRule& rule,
                                           std::uint32_t position = 0);  // EINVAL E2BIG ENOSPC
  [[nodiscard]] Result<void> delete_mark_rule(std::uint32_t position);   // E2BIG
  /// Deletes the first rule that says the same.
  [[nodiscard]] Result<void> delete_mark_rule(const model::MarkRule& rule);  // ENOENT
  void flush_mark_rules();
  void zero_mark_rules() noexcept;
  [[nodiscard]] std::size_t mark_rule_count() const noexcept;
  [[nodiscard]] std::optional<model::MarkRuleInfo> mark_rule(std::uint32_t position) const;
  /// The mark that a frame has or would get; counts nothing.
  [[nodiscard]] std::uint32_t mark_of(const net::Packet& packet,
                                      InterfaceId ingress) const noexcept;

  // Listings.
  [[nodiscard]] bool has_service(const model::ServiceKey& key) const noexcept;
  [[nodiscard]] std::optional<model::ServiceInfo> service(const model::ServiceKey& key) const;
  /// All services: those by address first, then those by mark; within each, newest first.
  [[nodiscard]] std::vector<model::ServiceInfo> services() const;
  /// Keys only, in the order of `services`; for listings made in pieces.
  [[nodiscard]] std::vector<model::ServiceKey> service_keys() const;
  /// Destinations newest first, as every scheduler walks them; empty for an unknown service.
  [[nodiscard]] std::vector<model::DestinationInfo> destinations(
      const model::ServiceKey& key) const;
  [[nodiscard]] std::uint32_t shown_table_size() const noexcept;
  [[nodiscard]] std::size_t service_count() const noexcept;
  /// Appends the connections found in up to `slots` slots of the table from `cursor` on; returns
  /// where to go on, or nothing at the end. Start with 0. Connections made or gone meanwhile
  /// may be missed; none is listed twice.
  [[nodiscard]] std::optional<std::uint32_t> list_connections(
      std::uint32_t cursor, std::uint32_t slots, std::vector<model::ConnectionInfo>& out) const;
  [[nodiscard]] std::size_t connection_count() const noexcept;
  [[nodiscard]] std::size_t connection_capacity() const noexcept;
  [[nodiscard]] model::Statistics totals() const noexcept;
  [[nodiscard]] const DirectorCounters& counters() const noexcept;
  /// Counts a packet that whoever runs the director had to drop after `process`.
  void count_drop(DropReason reason) noexcept;

  // The fast path: XDP forwards plain packets of established connections by itself.
  /// Publishes connections in `memory`, which must outlive this or the next `stop_fast_path`.
  /// The setting `fast_path` says at any time whether XDP makes use of it.
  void start_fast_path(const FlowMemory& memory);
  /// Once devices are known: takes over what an earlier director published in the same memory, if
  /// this one has adopted its connections.
  void adopt_flows(Timestamp now) noexcept;
  void stop_fast_path() noexcept;
  /// XDP can send out of `interface`, by `device` of its device map, and (`turns`) by XDP_TX what
  /// came in by it.
  void add_fast_device(InterfaceId interface, std::uint16_t device, bool turns) noexcept;
  void remove_fast_device(InterfaceId interface) noexcept;
  [[nodiscard]] FastPathStatus fast_path_status() const noexcept;
  [[nodiscard]] StandInStatus stand_in_status() const noexcept;
  /// Next hops to some of the servers that XDP sends to when there is no engine; called often, it
  /// goes over all of them. Whoever runs the director has them resolved.
  void visit_stand_in_hops(const std::function<void(const NextHop&)>& visit) noexcept;

  /// Tells `listener` (null: nobody) of every endpoint in use now, then of each change.
  void set_steering_listener(SteeringListener* listener);

  /// For parts of the engine with headers of their own (rehearsal.hpp).
  [[nodiscard]] DirectorState& state() noexcept { return *state_; }
  [[nodiscard]] const DirectorState& state() const noexcept { return *state_; }

 private:
  std::unique_ptr<DirectorState> state_;
};

}  // namespace lb::engine
