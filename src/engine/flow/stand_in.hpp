// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "engine/flow/fast_path.hpp"
#include "engine/flow/slot_pool.hpp"
#include "engine/flow/stand_in_status.hpp"
#include "engine/service_table.hpp"

namespace lb::engine {

/// Publishes for each service by which table XDP sends new flows on when there is no engine to ask,
/// or too many come (bpf/stand_in_abi.h), and reads what XDP noted meanwhile.
///
/// Tables are made off the packet path, some time after the configuration changed, from the
/// destinations that have a weight and that XDP can send to. A masqueraded server is among them
/// only if its real endpoint belongs to one service: only then its answers tell where they belong.
/// Not served in this way: services by mark or of all ports, those with a persistence engine, SCTP,
/// FTP with NAT, servers on the director.
class StandIn {
 public:
  /// All that is handed in must outlive this; `memory` must have the parts for it.
  StandIn(const FlowMemory& memory, FastPath& fast_path, DestinationTable& destinations,
          ServiceTable& services, const NetworkView& network);
  ~StandIn();
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;

  /// The service is new, or it or its destinations changed.
  void changed(Service& service, Timestamp now);
  /// The service goes; its destinations are still there.
  void gone(Service& service, Timestamp now);
  /// Takes over the tables that an earlier director published; between the two halves of the
  /// adoption of flows.
  void adopt(Timestamp now);
  /// Publishes a bounded number of tables whose turn it is; true if there are more.
  bool publish_due(Timestamp now);
  /// New flows a second that the engine is handed, together; 0: no limit. For how long a TCP
  /// connection may be idle. Whether the engine has hardly any room left: then it is handed none
  /// that tables are for.
  void set_limits(std::int32_t flows_per_second, std::uint32_t established_s, bool is_full,
                  Timestamp now) noexcept;
  void set_port(std::uint16_t device, InterfaceId interface, bool by_redirect) noexcept;
  void remove_port(InterfaceId interface) noexcept;

  /// The destination that XDP would send a new flow to; null: it would not.
  [[nodiscard]] Destination* choose(const Service& service, const net::Endpoint& client) noexcept;
  /// The same for a flow that goes on: where it went if it began while XDP decided and noted
  /// nothing; null: it did not.
  [[nodiscard]] Destination* choose_for_stray(const Service& service, const net::Endpoint& client,
                                              Timestamp now) noexcept;
  /// True if XDP decided by itself in the last `seconds`, noting nothing.
  [[nodiscard]] bool has_decided(std::uint32_t seconds, Timestamp now) const noexcept;
  /// The virtual endpoint that answers of a real one come from; null if it has several, or if XDP
  /// has not decided lately.
  [[nodiscard]] std::optional<FlowEnd> answers_as(const FlowEnd& real, Timestamp now) noexcept;

  /// A flow that XDP noted.
  struct Note {
    FlowEnd virtual_end;
    net::Endpoint client;
    std::uint32_t target = 0;
    std::uint32_t state = 0;  ///< stand_in_note_state bits
    std::uint64_t words = 0;  ///< for FastPath::last_seen_ms
  };
  /// True if XDP made notes that were not taken yet.
  [[nodiscard]] bool has_notes() const noexcept;
  /// Takes up to `budget` places' notes, each given to `take`; true if there may be more.
  template <class Take>
  bool take_notes(std::size_t budget, Take take) {
    if (!has_notes()) return false;
    if (cursor_ == 0) noted_at_begin_ = noted();
    for (; budget > 0 && cursor_ < memory_.notes.size(); --budget, ++cursor_) {
      if (const auto note = take_note(memory_.notes[cursor_])) take(*note);
    }
    if (cursor_ < memory_.notes.size()) return true;
    cursor_ = 0;
    taken_ = noted_at_begin_;
    return has_notes();
  }
  /// Takes the note of one flow, if there is one.
  [[nodiscard]] std::optional<Note> take_note_of(const FlowEnd& virtual_end,
                                                 const net::Endpoint& client) noexcept;
  void count_note(bool is_adopted) noexcept { ++(is_adopted ? adopted_ : lost_); }

  [[nodiscard]] StandInStatus status() const noexcept;
  /// Destinations that are published, some from `cursor` on; moves it.
  template <class Visit>
  void visit_members(std::size_t& cursor, std::size_t count, Visit visit) const {
    const auto all = services_.all();
    for (std::size_t i = 0; i < std::min(count, all.size()); ++i) {
      cursor = cursor + 1 < all.size() ? cursor + 1 : 0;
      for (const auto& member : all[cursor]->stand_in.members) {
        visit(destinations_.at(member.destination));
      }
    }
  }

 private:
  /// Who has a masqueraded real endpoint.
  struct RealUse {
    std::uint32_t services = 0;
    std::uint64_t serials = 0;  // all of them, xor: of one it is its own
  };
  struct RealHash {
    std::size_t operator()(const FlowEnd& end) const noexcept;
  };
  struct RealEqual {
    bool operator()(const FlowEnd& a, const FlowEnd& b) const noexcept;
  };
  struct Waiting {
    std::uint64_t serial = 0;
    Timestamp since;
  };

  void wait(Service& service, Timestamp now);
  void publish(Service& service, Timestamp now);
  void withdraw(Service& service, Timestamp now);
  void keep_previous(StandInTable& table, Timestamp now);
  void count_real_ends(Service& service, std::vector<FlowEnd> fresh, Timestamp now);
  void change_use(const FlowEnd& end, const Service& service, bool is_added, Timestamp now);
  void wake(std::uint64_t serial, Timestamp now);
  [[nodiscard]] Service* find_service(std::uint64_t serial) const noexcept;
  [[nodiscard]] bool is_only_of(const FlowEnd& real) const noexcept;
  [[nodiscard]] std::vector<TableClaimant> claimants_of(const Service& service) const;
  [[nodiscard]] SlotPool::Run write_table(const StandInTable& table,
                                          std::vector<TableClaimant> claimants, Timestamp now);
  void hold_members(Service& service, std::span<const TableClaimant> claimants, Timestamp now);
  void release_members(std::span<const StandInTable::Member> members, Timestamp now);
  [[nodiscard]] __u32& slot(std::uint32_t number) const noexcept {
    return memory_.slots[number / 2].targets[number % 2];
  }
  /// What the slots of a run hold.
  [[nodiscard]] std::vector<std::uint32_t> read_run(const SlotPool::Run& run) const;
  [[nodiscard]] Destination* destination_of(std::uint32_t target) const noexcept;
  [[nodiscard]] std::uint32_t slot_of(const Service& service, const net::Endpoint& client,
                                      std::size_t slots) const noexcept;
  [[nodiscard]] std::uint64_t noted() const noexcept;
  [[nodiscard]] std::optional<Note> take_note(stand_in_note& place) noexcept;

  const FlowMemory memory_;
  FastPath& fast_path_;
  DestinationTable& destinations_;
  ServiceTable& services_;
  const NetworkView& network_;
  SlotPool pool_;
  std::deque<Waiting> waiting_;  // tables to be published anew, oldest first
  tsl::robin_map<FlowEnd, RealUse, RealHash, RealEqual> real_uses_;
  std::size_t cursor_ = 0;  // of notes
  std::uint64_t taken_ = 0;
  std::uint64_t noted_at_begin_ = 0;
  std::uint64_t timeout_ = 0;  // of established TCP, in 2^FLOW_ALIVE_SHIFT ns
  std::uint32_t tables_ = 0;
  std::uint32_t refused_ = 0;
  std::uint64_t adopted_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t times_ = 0;  // that XDP began to decide
  bool is_active_ = false;   // XDP decided lately
};

}  // namespace lb::engine
