// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/siphash.hpp"
#include "engine/zeroed_array.hpp"
#include "net/address.hpp"

namespace lb::engine {

/// Number of an interned endpoint; 0 is none.
using EndpointId = std::uint32_t;

/// Memory for the entries of an EndpointTable that comes in pieces: there may be as many endpoints
/// as connections, and mostly there are few.
class EndpointRoom {
 public:
  virtual ~EndpointRoom() = default;
  /// Entries, from number 0 on, that have memory.
  [[nodiscard]] virtual std::size_t entries() const noexcept = 0;
  /// Gives memory to some more; false if there is none. May take a millisecond.
  virtual bool extend() noexcept = 0;
};

/// Interned (protocol, address, port) triples, counted by reference.
///
/// Connections name their virtual and their real end by number: a record stays small, a look-up
/// that misses here needs no look into the connection table, and XDP can steer by the same
/// numbers. Most packets concern few endpoints: the numbers that were found last are kept in a
/// small array, so that finding them again takes no keyed hash. Fixed capacity, open addressing
/// over a keyed hash (clients choose ports of port-0 services). Numbers are given out from 1; a
/// freed number is used again last, so that whoever still holds it (a packet on its way, XDP on
/// another core) meets nothing new for long.
///
/// Example: the service 192.0.2.10:80/tcp and its 1000 connections share one virtual endpoint
/// with 1001 references.
class EndpointTable {
 public:
  struct Entry {
    net::IpAddress address;
    net::Port port;
    net::Protocol protocol = net::Protocol::kIp;
    std::uint32_t references = 0;
  };

  /// More than 2^30 are not had.
  static constexpr std::uint32_t kMaxCapacity = 1U << 30;
  /// Memory is to be added when no more numbers than so many are free. Connections are opened at a
  /// million a second, and `make_room` is called more often than thirty times a second.
  static constexpr std::uint32_t kSpare = 1U << 15;

  /// `entries`: memory that the entries lie in, capacity + 1 of them; empty: the table's own.
  /// `room`: what gives them memory, for now to as many as it says; null: all have it.
  EndpointTable(std::uint32_t capacity, const std::array<std::uint64_t, 2>& hash_key,
                std::span<Entry> entries = {}, EndpointRoom* room = nullptr);

  /// Adds memory if free numbers run short; false if there is none to be had. Not to be called for
  /// a packet.
  bool make_room() noexcept;

  /// Takes over what another table left in the entries: `begin_adoption`, then `adopt` for every
  /// reference that there is, then `end_adoption`. Nothing else in between.
  void begin_adoption() noexcept;
  /// False if there is no such number, or another one for the same endpoint is in use: the process
  /// ended in the middle.
  [[nodiscard]] bool can_adopt(EndpointId id) const noexcept;
  /// Adds a reference to an entry that was left and can be adopted.
  void adopt(EndpointId id) noexcept;
  void end_adoption() noexcept;

  /// The number of the endpoint, or 0 if it is not in use.
  [[nodiscard]] EndpointId find(net::Protocol protocol, const net::IpAddress& address,
                                net::Port port) const noexcept {
    const EndpointId id = recent_[recent_place(protocol, address, port)];
    return is(entries_[id], protocol, address, port) && entries_[id].references != 0
               ? id
               : find_any(protocol, address, port);
  }
  /// Adds a reference, interning the endpoint if it is new; 0 if the table is full.
  [[nodiscard]] EndpointId acquire(net::Protocol protocol, const net::IpAddress& address,
                                   net::Port port) noexcept;
  /// Adds a reference to an endpoint in use.
  void retain(EndpointId id) noexcept;
  /// Takes one reference; returns true if it was the last and the endpoint is gone.
  bool release(EndpointId id) noexcept;
  /// The endpoint of a number in use; stays readable after the last `release` until the next
  /// `acquire`.
  [[nodiscard]] const Entry& at(EndpointId id) const noexcept {
    assert(id < next_fresh_);
    return entries_[id];
  }
  /// One past the highest number ever given out.
  [[nodiscard]] EndpointId end() const noexcept { return next_fresh_; }
  [[nodiscard]] std::uint32_t size() const noexcept;
  [[nodiscard]] std::uint32_t capacity() const noexcept;

 private:
  static constexpr std::size_t kRecent = 256;

  struct Slot {
    std::uint32_t tag = 0;  // low half of the hash: says where the entry belongs, mostly also what
    EndpointId id = 0;      // 0: empty
  };
  [[nodiscard]] std::uint32_t tag(net::Protocol protocol, const net::IpAddress& address,
                                  net::Port port) const noexcept {
    return static_cast<std::uint32_t>(
        hash_endpoint(hash_key_, address.family(), address.bytes(), port, protocol));
  }
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t tag, net::Protocol protocol,
                                      const net::IpAddress& address, net::Port port) const noexcept;
  // Where a number would be kept. No secret: who makes places coincide only gets the slow look-up.
  [[nodiscard]] static std::size_t recent_place(net::Protocol protocol,
                                                const net::IpAddress& address,
                                                net::Port port) noexcept {
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes());
    const std::uint64_t rest =
        std::uint64_t{port.to_network()} << 32 | static_cast<std::uint64_t>(protocol) << 48;
    return ((words[0] ^ rest) * 0x9e3779b97f4a7c15U ^ words[1] * 0xbf58476d1ce4e5b9U) >> 56;
  }
  [[nodiscard]] static bool is(const Entry& entry, net::Protocol protocol,
                               const net::IpAddress& address, net::Port port) noexcept {
    return entry.port == port && entry.protocol == protocol && entry.address == address;
  }
  [[nodiscard]] EndpointId find_any(net::Protocol protocol, const net::IpAddress& address,
                                    net::Port port) const noexcept;
  [[nodiscard]] EndpointId take_number() noexcept;
  void empty_slot(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t count_usable() const noexcept;

  HashKey hash_key_;
  std::uint32_t capacity_;
  std::uint32_t slot_mask_;
  EndpointRoom* room_;
  std::uint32_t usable_;           // numbers that have memory
  ZeroedArray<Entry> block_;       // where the entries are if nobody supplies memory
  std::span<Entry> entries_;       // by number; 0 unused
  ZeroedArray<Slot> slots_;        // open addressing, linear probing, at most half full
  ZeroedArray<EndpointId> freed_;  // ring of the numbers that were given back, oldest at the head
  std::uint32_t freed_head_ = 0;
  std::uint32_t freed_count_ = 0;
  std::uint32_t next_fresh_ = 1;  // numbers from here on were never given out
  std::uint32_t size_ = 0;
  mutable std::array<EndpointId, kRecent> recent_{};  // may be stale: what it names is compared
};

}  // namespace lb::engine
