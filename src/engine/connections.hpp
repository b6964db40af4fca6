// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/burst.hpp"
#include "engine/connection_table.hpp"
#include "engine/destination_table.hpp"
#include "engine/director_memory.hpp"
#include "engine/ftp_session.hpp"
#include "engine/protocol_timeouts.hpp"
#include "engine/state/tcp.hpp"
#include "engine/steered_ends.hpp"
#include "engine/template_keys.hpp"
#include "engine/timer_wheel.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// What a connection, or a template, is made of.
struct ConnectionPlan {
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint client;
  net::Endpoint virtual_end;
  net::Endpoint real_end;
  Destination* destination = nullptr;  ///< null: bypass
  std::uint32_t flags = 0;             ///< ConnectionFlag bits
  std::uint32_t timeout_s = 3;         ///< until the first packet's state sets another
  std::string_view key_data{};         ///< of a template made by a persistence engine
  /// How packets are forwarded without a destination.
  model::ForwardingMethod unbound_method = model::ForwardingMethod::kBypass;
};

/// What sync daemons remember of a connection. Kept beside the records, and only once a daemon
/// was started.
struct SyncMark {
  std::int64_t told_expiry_ms;  ///< the expiry that others were told last
  std::uint32_t fwmark;         ///< of a connection from others
  std::uint8_t told_state;
  std::uint8_t repeats;  ///< how often the same was told again
};

/// Told of connections that controlled others when their time was over, and so live on.
class ProlongationListener {
 public:
  virtual ~ProlongationListener() = default;
  virtual void prolonged(ConnectionId id) noexcept = 0;
};

class FastPath;

/// The life of connections: made, bound to a destination, moved through states, expired.
///
/// Over the tables of records, endpoints, timers and destinations it keeps what belongs
/// together in step: a destination's counts of active and inactive connections, its overload
/// flag, the references of endpoints, the hold of a template on those it controls.
class Connections {
 public:
  Connections(std::uint32_t capacity, const std::array<std::uint64_t, 2>& hash_key,
              DestinationTable& destinations, Timestamp start, BlockHint hint = nullptr,
              const DirectorMemory& memory = {});

  /// Takes over the connections that a director left in the memory; destinations and what refers to
  /// endpoints besides connections have been taken over before (see EndpointTable::adopt). Returns
  /// how many could not be.
  [[nodiscard]] std::size_t adopt(Timestamp now) noexcept;

  /// Lets no more than `most` connections and templates be there at once; those that are stay.
  void set_limit(std::uint32_t most) noexcept { limit_ = most; }
  /// How many that is, at most the table's capacity.
  [[nodiscard]] std::uint32_t limit() const noexcept { return std::min(limit_, table_.capacity()); }
  /// Whether a new one that finds no room gets that of one that is half open: a TCP connection
  /// whose client has not answered the server, or a UDP flow of one packet.
  void give_up_half_open(bool wanted) noexcept { gives_up_half_open_ = wanted; }
  [[nodiscard]] std::uint64_t given_up() const noexcept { return given_up_; }
  /// Has memory added where endpoints run short of it. Not to be called for a packet.
  void make_room(Timestamp now) noexcept;
  /// Makes and files a connection; 0 if a table or the limit is full.
  [[nodiscard]] ConnectionId open(const ConnectionPlan& plan, Timestamp now) noexcept;
  /// Puts `connection` under the hold of `control` (its template).
  void set_control(ConnectionId connection, ConnectionId control) noexcept;
  /// Gives a connection opened without it its client's port.
  void learn_client_port(ConnectionId id, net::Port port, Timestamp now) noexcept;
  /// Makes a TCP connection wait for its first packet.
  void listen(ConnectionId id, Timestamp now) noexcept;
  /// The connection of a packet from its client, or about one; 0 if there is none. One whose
  /// client port is not known yet is found second.
  [[nodiscard]] ConnectionId find(net::Protocol protocol, const net::Endpoint& client,
                                  const net::Endpoint& virtual_end,
                                  const Ahead& ahead = {}) const noexcept;
  /// The masquerading connection of an answer from `real_end` to `client`; 0 if there is none.
  [[nodiscard]] ConnectionId find_reply(net::Protocol protocol, const net::Endpoint& real_end,
                                        const net::Endpoint& client,
                                        const Ahead& ahead = {}) const noexcept;
  /// Finds out where the connection of a packet will be looked for, and starts loading that.
  [[nodiscard]] Ahead look_ahead(net::Protocol protocol, const net::Endpoint& source,
                                 const net::Endpoint& destination) const noexcept;
  /// When that is loaded: starts loading the connection itself.
  void load_record(const Ahead& ahead) const noexcept {
    if (ahead.end != 0) table_.prefetch_record(ahead.client_hash, ahead.end, ahead.is_answer);
  }
  /// With `key_data` only a template that has the same.
  [[nodiscard]] ConnectionId find_template(net::Protocol protocol, const net::IpAddress& client,
                                           const net::Endpoint& virtual_end,
                                           std::string_view key_data = {}) const noexcept;

  /// Moves the state machine by a packet (IP payload `transport`) and takes over the timeout
  /// of the new state. `is_reply`: from the real server.
  void track(ConnectionId id, const net::Headers& headers, std::span<const std::byte> transport,
             bool is_reply, bool secure_tcp) noexcept;
  /// Puts a connection that began without the director into the state that it is in by now.
  void go_on(ConnectionId id, TcpState state) noexcept;
  /// Starts the idle time anew, as every packet does.
  void touch(ConnectionId id, Timestamp now) noexcept;
  /// Expires the connection now, unless it controls others.
  void expire_now(ConnectionId id, Timestamp now) noexcept;
  /// Makes a connection unfindable that gives way to a new one. Expire it when that is scheduled:
  /// until then its destination counts it, as in the kernel, where a timer ends it.
  void retire(ConnectionId id, Timestamp now) noexcept;
  /// Counts a connection as active or inactive, as the sync daemon was told.
  void set_activity(ConnectionId id, bool is_active) noexcept;
  /// Binds a connection opened without a destination, which takes on its forwarding method.
  void bind_late(ConnectionId id, Destination& destination, Timestamp now) noexcept;
  /// Counts the connections of inside hosts from now on. To be called before there are any.
  void keep_snat_clients();
  /// Connections that `inside` has by the SNAT rule with that account.
  [[nodiscard]] std::uint32_t snat_connections(const net::IpAddress& inside,
                                               const Destination& account) const noexcept;
  /// Has sync marks from now on.
  void keep_sync_marks();
  /// Its mark; only after `keep_sync_marks`.
  [[nodiscard]] SyncMark& sync_mark(ConnectionId id) noexcept { return (*sync_marks_)[id]; }
  /// Packets that others forwarded were last seen at `ms` of the time line.
  void seen(ConnectionId id, std::int64_t ms) noexcept;
  /// Is asked before a connection expires or is listed, and told when it goes; null: there is none.
  void set_fast_path(FastPath* fast_path) noexcept { fast_path_ = fast_path; }
  /// Brings the expiry up to date with what XDP forwarded.
  void refresh_expiry(ConnectionId id, Timestamp now) noexcept;
  /// Has XDP forward no more packets of it until it is offered again.
  void withdraw(ConnectionId id, Timestamp now) noexcept;
  void set_prolongation_listener(ProlongationListener* listener) noexcept {
    prolongation_listener_ = listener;
  }
  /// Ends a connection that was made for one packet only and never filed.
  void end_one_packet(ConnectionId id, Timestamp now) noexcept { destroy(id, now); }
  /// Makes a template unfindable for good; it goes when its time is over.
  void invalidate_template(ConnectionId id) noexcept;
  /// Handles up to `budget` timers that are due; true if some remain.
  bool expire_due(Timestamp now, std::size_t budget) noexcept;
  /// Expires connections whose destination is removed, looking at up to `slots` records from
  /// `cursor` on; returns where to go on, 0 at the end.
  [[nodiscard]] std::uint32_t expire_orphans(std::uint32_t cursor, std::uint32_t slots,
                                             Timestamp now) noexcept;

  [[nodiscard]] ConnectionRecord& at(ConnectionId id) noexcept { return table_.at(id); }
  [[nodiscard]] const ConnectionRecord& at(ConnectionId id) const noexcept { return table_.at(id); }
  [[nodiscard]] const ConnectionTable& table() const noexcept { return table_; }
  [[nodiscard]] Destination* destination(const ConnectionRecord& record) noexcept {
    return record.destination == 0 ? nullptr : &destinations_.at(record.destination);
  }
  [[nodiscard]] bool controls_others(ConnectionId id) noexcept {
    return table_.controlled(id) != 0;
  }
  [[nodiscard]] net::Endpoint client_end(const ConnectionRecord& record) const noexcept;
  [[nodiscard]] net::Endpoint virtual_end(const ConnectionRecord& record) const noexcept {
    return virtual_ends_.end(record.virtual_end);
  }
  [[nodiscard]] net::Endpoint real_end(const ConnectionRecord& record) const noexcept {
    return real_ends_.end(record.real_end);
  }
  [[nodiscard]] std::string_view key_data(ConnectionId id) const noexcept {
    return (at(id).flags & kConnectionKeyed) != 0 ? template_keys_.data(id) : std::string_view{};
  }
  /// What is known of the FTP conversation on a connection with kConnectionFtp.
  [[nodiscard]] FtpSession& ftp_session(ConnectionId id) noexcept { return ftp_sessions_[id]; }
  [[nodiscard]] std::string_view state_name(const ConnectionRecord& record) const noexcept;
  [[nodiscard]] SteeredEnds& virtual_ends() noexcept { return virtual_ends_; }
  [[nodiscard]] SteeredEnds& real_ends() noexcept { return real_ends_; }
  [[nodiscard]] ProtocolTimeouts& timeouts() noexcept { return timeouts_; }
  [[nodiscard]] const ProtocolTimeouts& timeouts() const noexcept { return timeouts_; }
  [[nodiscard]] std::uint64_t created() const noexcept { return created_; }
  [[nodiscard]] std::uint64_t expired() const noexcept { return expired_; }

 private:
  [[nodiscard]] EndpointId find_real_end(net::Protocol protocol,
                                         const net::Endpoint& end) const noexcept {
    return snat_count_ != 0 ? real_ends_.find(protocol, end.address, end.port)
                            : real_ends_.find_steered(protocol, end.address, end.port);
  }
  [[nodiscard]] bool is_adoptable(const ConnectionRecord& record) const noexcept;
  void resume(ConnectionId id, Timestamp now) noexcept;
  void count_snat_client(const ConnectionRecord& record) noexcept;
  void uncount_snat_client(const ConnectionRecord& record) noexcept;
  void count_bound(const ConnectionRecord& record, Destination& destination) noexcept;
  void bind(ConnectionRecord& record, Destination& destination) noexcept;
  void unbind(ConnectionRecord& record) noexcept;
  void count_activity(ConnectionRecord& record, bool is_active) noexcept;
  void assure_template(const ConnectionRecord& record) noexcept;
  void file(ConnectionId id, Timestamp now) noexcept;
  void release_ends(const ConnectionRecord& record) noexcept;
  void release_control(ConnectionId id, Timestamp now) noexcept;
  [[nodiscard]] bool is_half_open(ConnectionId id) noexcept;
  void give_one_up(Timestamp now) noexcept;
  void destroy(ConnectionId id, Timestamp now) noexcept;

  ConnectionTable table_;
  std::uint32_t limit_ = UINT32_MAX;
  Timestamp next_room_{Duration::min()};  // not before is memory asked for again
  TimerWheel timers_;
  SteeredEnds virtual_ends_;
  SteeredEnds real_ends_;
  DestinationTable& destinations_;
  std::array<std::uint64_t, 2> hash_key_;
  ProtocolTimeouts timeouts_;
  TemplateKeys template_keys_;
  ZeroedArray<FtpSession> ftp_sessions_;             // by connection; most are never touched
  std::optional<ZeroedArray<SyncMark>> sync_marks_;  // by connection
  ProlongationListener* prolongation_listener_ = nullptr;
  FastPath* fast_path_ = nullptr;
  std::optional<EndpointTable> snat_clients_;  // (rule, inside address), by connection
  std::uint32_t snat_count_ = 0;               // connections; 0 saves a look-up
  std::uint32_t without_client_port_ = 0;      // connections; 0 saves the second look-up
  std::uint64_t created_ = 0;
  std::uint64_t expired_ = 0;
  bool gives_up_half_open_ = false;
  ConnectionId give_up_cursor_ = 1;
  std::uint64_t given_up_ = 0;
};

}  // namespace lb::engine
