// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/endpoint_table.hpp"
#include "engine/overflow_lists.hpp"
#include "engine/siphash.hpp"
#include "engine/zeroed_array.hpp"
#include "model/destination.hpp"
#include "net/address.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Index of a connection record; 0 is none.
using ConnectionId = std::uint32_t;

/// Flags of a connection record.
enum ConnectionFlag : std::uint32_t {
  kConnectionTemplate = 1U << 0,      ///< a persistence template
  kConnectionInactive = 1U << 1,      ///< counted as inactive at its destination
  kConnectionOneWay = 1U << 2,        ///< answers do not pass here (DR, TUN)
  kConnectionOnePacket = 1U << 3,     ///< never filed in the table
  kConnectionNoClientPort = 1U << 4,  ///< client port not known yet (FTP data)
  kConnectionAssured = 1U << 5,       ///< template: a controlled connection was established
  kConnectionDetached = 1U << 6,      ///< made unfindable (replaced template); expires
  kConnectionDying = 1U << 7,         ///< told to expire at once
  kConnectionSynced = 1U << 8,        ///< came from the sync daemon
  kConnectionFtp = 1U << 9,           ///< what it says is looked at: FTP control
  kConnectionKeyed = 1U << 10,        ///< template: also has key data (a Call-ID)
  kConnectionUnbound = 1U << 11,      ///< from the sync daemon; its destination is not there yet
  kConnectionFastRequest = 1U << 12,  ///< XDP knows the flow from the client
  kConnectionFastReply = 1U << 13,    ///< XDP knows the flow from the real server
  kConnectionSnat = 1U << 14,         ///< of a SNAT rule: the real end is an inside host
  kConnectionFromInside = 1U << 15,   ///< of SNAT, and opened by the inside host
};

/// What the director remembers of a connection or template: one cache line, no pointers, so
/// that the records can lie in memory that outlives the process.
struct ConnectionRecord {
  std::array<std::uint8_t, 16> client{};  ///< IPv4 in the first four bytes
  net::Port client_port;
  net::Protocol protocol = net::Protocol::kIp;
  std::uint8_t state = 0;   ///< of the protocol's state machine
  std::uint32_t flags = 0;  ///< ConnectionFlag bits
  EndpointId virtual_end = 0;
  EndpointId real_end = 0;        ///< where packets go to; filed as reply key if masquerading
  std::uint32_t destination = 0;  ///< id in the destination table; 0: none (bypass)
  ConnectionId control = 0;       ///< the template, or the parent, that holds this one
  std::int64_t expires_ms = 0;    ///< on the engine's time line
  std::uint32_t timeout_s = 0;    ///< what the last state set
  std::uint32_t packets_in = 0;
  model::ForwardingMethod method = model::ForwardingMethod::kMasquerade;
  net::Family family = net::Family::kIpv4;
  std::uint16_t reserved = 0;
  std::uint32_t committed = 0;  ///< written last; 0: the record is free
};
static_assert(sizeof(ConnectionRecord) == 64);

/// All connections of the director, found by two keys.
///
/// A record has two keys: (protocol, client, client port, virtual end) as the client sends it, and,
/// if it is filed for replies, (protocol, client, client port, real end) as the real server
/// answers. Records are addressed by index in one block that never grows: when it is full, `create`
/// fails and the caller drops the packet, for a table that grows under a SYN flood takes the
/// machine with it. What leads to a record is kept beside the records and can be rebuilt from them.
/// With equal keys the record filed last is found; when it goes, the one before it is found again.
///
/// Buckets are cache lines of twelve entries for both kinds of key, newest first, each with eight
/// bits of the hash: a hit touches the bucket and the record, a miss mostly the bucket alone. What
/// does not fit (one bucket in a hundred of a full table, unless clients make equal keys) goes on
/// in a list behind the bucket (see OverflowLists).
///
/// Hashes are SipHash under a secret key since clients choose what goes in. The client's side alone
/// is hashed, once for both keys; the number of the other end moves the place by multiples of the
/// golden ratio, which lie far apart whichever numbers a client makes the director hand out (Sos
/// 1958, the three-distance theorem): it cannot heap its connections up in a bucket, and what two
/// clients have in common depends on the secret.
///
/// An index that was freed last is used first: its lines are warm, and the pages of a large table
/// that were never needed stay untouched. So an index kept beyond `destroy` may soon mean
/// another connection.
///
/// Example: the client 198.51.100.7:40000 opens 192.0.2.10:80/tcp (virtual end 1) and is sent to
/// 10.0.0.2:8080 (real end 2). Filed under (tcp, 198.51.100.7:40000, 1) and, when masquerading,
/// under (tcp, 198.51.100.7:40000, 2).
class ConnectionTable {
 public:
  /// More than so many are not had.
  static constexpr std::uint32_t kMaxCapacity = (1U << 30) - 1;
  /// Of (protocol, client, client port).
  using ClientHash = std::uint64_t;

  /// `records`: memory that the records lie in, capacity + 1 of them; empty: the table's own.
  ConnectionTable(std::uint32_t capacity, const HashKey& hash_key, BlockHint hint = nullptr,
                  std::span<ConnectionRecord> records = {});

  /// Takes over what another table left in the records: those for which `keep` (given the id) is
  /// true are in use then, but not filed; the others are free.
  template <class Keep>
  void adopt(Keep keep) noexcept {
    end_ = capacity_ + 1;
    while (end_ > 1 && records_[end_ - 1].committed == 0) --end_;
    for (ConnectionId id = end_ - 1; id > 0; --id) {
      sides_[id] = kInUse;
      if (records_[id].committed != 0 && keep(id)) {
        ++size_;
      } else {
        records_[id].committed = 0;
        sides_[id] = free_ << kUseBits | kFree;
        free_ = id;
      }
    }
  }

  /// Takes a free record and gives it the values of a new one; 0 if there is none. Not findable
  /// before `file`.
  [[nodiscard]] ConnectionId create() noexcept;
  /// Makes the record findable by its original key and, if `by_reply`, by its reply key, and marks
  /// it committed. The fields of its keys must be set, and must not change while it is filed.
  /// Filing again makes it the newest.
  void file(ConnectionId id, bool by_reply) noexcept;
  /// Only marks it committed: for records that are found in another way (templates with key data).
  void commit(ConnectionId id) noexcept;
  /// Makes it unfindable by both keys; the record stays.
  void unfile(ConnectionId id) noexcept;
  /// Unfiles and frees the record.
  void destroy(ConnectionId id) noexcept;

  [[nodiscard]] ClientHash hash(net::Protocol protocol, const net::IpAddress& client,
                                net::Port client_port) const noexcept {
    return hash_endpoint(hash_key_, client.family(), client.bytes(), client_port, protocol);
  }
  /// Finds by the original key. Templates and connections are told apart by `want_template`. The
  /// second form takes the client's hash from whoever has it already; so below.
  [[nodiscard]] ConnectionId find(net::Protocol protocol, const net::IpAddress& client,
                                  net::Port client_port, EndpointId virtual_end,
                                  bool want_template) const noexcept {
    return find(hash(protocol, client, client_port), protocol, client, client_port, virtual_end,
                want_template);
  }
  [[nodiscard]] ConnectionId find(ClientHash hash, net::Protocol protocol,
                                  const net::IpAddress& client, net::Port client_port,
                                  EndpointId virtual_end, bool want_template) const noexcept;
  /// Finds by the reply key.
  [[nodiscard]] ConnectionId find_reply(net::Protocol protocol, const net::IpAddress& client,
                                        net::Port client_port, EndpointId real_end) const noexcept {
    return find_reply(hash(protocol, client, client_port), protocol, client, client_port, real_end);
  }
  [[nodiscard]] ConnectionId find_reply(ClientHash hash, net::Protocol protocol,
                                        const net::IpAddress& client, net::Port client_port,
                                        EndpointId real_end) const noexcept;
  /// Starts loading the bucket that `find` or `find_reply` will look into.
  void prefetch_bucket(ClientHash hash, EndpointId end) const noexcept;
  /// Looks into the bucket and starts loading the record that is likely the one.
  void prefetch_record(ClientHash hash, EndpointId end, bool by_reply) const noexcept;

  [[nodiscard]] ConnectionRecord& at(ConnectionId id) noexcept {
    assert(contains(id));
    return records_[id];
  }
  [[nodiscard]] const ConnectionRecord& at(ConnectionId id) const noexcept {
    assert(contains(id));
    return records_[id];
  }
  /// True if `id` is a record in use.
  [[nodiscard]] bool contains(ConnectionId id) const noexcept {
    return id < end_ && (sides_[id] & kUseMask) != kFree;
  }
  /// Connections (and parents) that the record controls; kept beside it since it can be recounted.
  [[nodiscard]] std::uint32_t controlled(ConnectionId id) const noexcept {
    assert(contains(id));
    return sides_[id] >> kUseBits;
  }
  void add_controlled(ConnectionId id) noexcept {
    assert(contains(id));
    sides_[id] += 1U << kUseBits;
  }
  /// Returns how many are left.
  std::uint32_t remove_controlled(ConnectionId id) noexcept {
    assert(controlled(id) != 0);
    sides_[id] -= 1U << kUseBits;
    return controlled(id);
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  /// One past the highest index ever used; listings walk 1..end-1 and skip what is free.
  [[nodiscard]] std::uint32_t end() const noexcept { return end_; }

 private:
  // What is kept beside a record: in the low bits what use it is in, above them how many others it
  // controls, or of a free one the next free one.
  using Side = std::uint32_t;
  static constexpr unsigned kUseBits = 2;
  static constexpr Side kUseMask = 3;
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kInUse = 1;            // not filed
  static constexpr std::uint32_t kFiled = 2;            // by its original key
  static constexpr std::uint32_t kFiledForReplies = 3;  // by both keys

  // An index, and by which of its keys the record is filed here: kReplyBit or nothing. 0: none.
  using Entry = std::uint32_t;
  static constexpr Entry kReplyBit = 1U << 31;

  struct Bucket {
    static constexpr std::size_t kEntries = 12;
    std::array<std::uint8_t, kEntries> tags;
    std::array<Entry, kEntries> entries;  // newest first, without gaps
    OverflowLists::List more;             // those that do not fit, newest first

    /// A bit for each entry with that tag, and perhaps for some behind the last entry.
    [[nodiscard]] std::uint32_t candidates(std::uint8_t tag) const noexcept;
  };
  static_assert(sizeof(Bucket) == 64);

  [[nodiscard]] std::size_t place(ClientHash hash, EndpointId end) const noexcept {
    constexpr std::uint32_t kGoldenRatio = 0x9e3779b9;  // times 2^32
    const auto point = static_cast<std::uint32_t>(hash) + end * kGoldenRatio;
    return static_cast<std::size_t>((std::uint64_t{point} * buckets_.size()) >> 32);
  }
  [[nodiscard]] static std::uint8_t tag_of(ClientHash hash) noexcept {
    return static_cast<std::uint8_t>(hash >> 56);
  }
  [[nodiscard]] ClientHash hash_of(const ConnectionRecord& record) const noexcept {
    return hash_endpoint(hash_key_, record.family, record.client, record.client_port,
                         record.protocol);
  }
  void set_use(ConnectionId id, std::uint32_t use) noexcept {
    sides_[id] = (sides_[id] & ~kUseMask) | use;
  }
  template <class Predicate>
  [[nodiscard]] ConnectionId search(const Bucket& bucket, ClientHash hash, Entry kind,
                                    Predicate is_wanted) const noexcept;
  void insert(Bucket& bucket, Entry entry, std::uint8_t tag) noexcept;
  void remove(Bucket& bucket, Entry entry) noexcept;

  HashKey hash_key_;
  std::uint32_t capacity_;
  ZeroedArray<ConnectionRecord> block_;  // where the records live if nobody supplies memory
  std::span<ConnectionRecord> records_;  // index 0 unused
  ZeroedArray<Side> sides_;
  ZeroedArray<Bucket> buckets_;
  OverflowLists overflow_;
  ConnectionId free_ = 0;  // the record freed last
  std::uint32_t size_ = 0;
  std::uint32_t end_ = 1;
};

}  // namespace lb::engine
