// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/destination.hpp"
#include "engine/siphash.hpp"
#include "net/address.hpp"
#include "net/time.hpp"

namespace lb::engine {

/// Which destinations serve which virtual address: the memory of lblc (one destination an
/// address) and lblcr (a set of them).
///
/// Both kinds of record come from pools of fixed size, so that look-ups and insertions never
/// allocate and a flood of addresses cannot take the machine's memory; what does not fit is not
/// remembered. Pages of the pools are touched as they are first used.
///
/// Destinations are referred to by seats. A removed destination keeps its seat, vacant, while
/// members refer to it, and takes it again when the same server comes back: as in the kernel,
/// where a removed destination lives on as long as the cache holds it.
class LocationCache {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;
  /// A sweep tries to get below this number of entries.
  static constexpr std::size_t kSoftLimit = 16 * 1024;
  static constexpr std::size_t kHardLimit = kSoftLimit * 3 / 2;

  struct Entry {
    net::IpAddress address;
    Timestamp last_used{};
    Timestamp last_changed{};  ///< of its members
    std::uint32_t first_member = kNone;
    std::uint32_t member_count = 0;
    std::uint32_t next = kNone;
  };

  /// `key` is the secret of the hash table; `members_per_entry` sizes the pool of members.
  LocationCache(std::uint64_t key, std::size_t members_per_entry);

  /// Forgets everything and takes up these destinations.
  void reset(std::span<Destination* const> destinations);
  void destination_added(Destination& destination);
  void destination_removed(Destination& destination) noexcept;

  [[nodiscard]] Entry* find(const net::IpAddress& address) noexcept;
  /// Adds an entry without members for an address that has none; null if the pool is empty.
  Entry* create(const net::IpAddress& address, Timestamp now) noexcept;
  /// Puts `destination` first among the members if it isn't one; not if the pool is empty.
  void add_member(Entry& entry, const Destination& destination, Timestamp now) noexcept;
  void remove_member(Entry& entry, const Destination& destination, Timestamp now) noexcept;
  void clear_members(Entry& entry) noexcept;

  /// Calls `visit` with each member that is in the service, the one added last first.
  template <class Visit>
  void for_each_member(const Entry& entry, Visit visit) const noexcept {
    for (auto i = entry.first_member; i != kNone; i = members_[i].next) {
      if (Destination* destination = seats_[members_[i].seat].destination) visit(*destination);
    }
  }

  /// To be called once a minute. Every 30th time it removes the entries unused for `lifetime`;
  /// at others only if there are more than the soft limit, those unused for six minutes.
  void sweep(Timestamp now, Duration lifetime) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  struct Member {
    std::uint32_t seat = 0;
    std::uint32_t next = kNone;
  };
  struct Seat {
    Destination* destination = nullptr;
    net::Endpoint server;  ///< who may take the seat again
    std::uint32_t member_count = 0;
    bool is_taken = false;
  };

  [[nodiscard]] std::uint32_t& bucket_of(const net::IpAddress& address) noexcept;
  [[nodiscard]] std::uint32_t seat_of(const Destination& destination) const noexcept;
  void drop_member(std::uint32_t& link) noexcept;
  /// Frees the bucket's entries not used since `limit`; returns how many.
  std::size_t sweep_bucket(std::uint32_t& bucket, Timestamp limit) noexcept;

  HashKey key_;
  std::size_t member_capacity_;
  std::vector<std::uint32_t> buckets_;
  std::vector<Entry> entries_;
  std::vector<Member> members_;
  std::vector<Seat> seats_;
  std::uint32_t free_entry_ = kNone;
  std::uint32_t free_member_ = kNone;
  std::size_t size_ = 0;
  std::size_t rover_ = 0;          ///< bucket where the last sweep ended
  std::uint32_t sweep_count_ = 1;  ///< sweeps since the last full one
};

}  // namespace lb::engine
