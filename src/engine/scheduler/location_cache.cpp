// SPDX-License-Identifier: Apache-2.0
#include "engine/scheduler/location_cache.hpp"

#include <algorithm>
#include <chrono>

namespace lb::engine {
namespace {

constexpr std::size_t kBuckets = 4096;
constexpr std::uint32_t kSweepsToFull = 30;
constexpr Duration kIdleWhenFull = std::chrono::minutes(6);

}  // namespace

LocationCache::LocationCache(std::uint64_t key, std::size_t members_per_entry)
    : key_{key, ~key}, member_capacity_(kHardLimit * members_per_entry) {}

void LocationCache::reset(std::span<Destination* const> destinations) {
  buckets_.assign(kBuckets, kNone);
  entries_.clear();
  entries_.reserve(kHardLimit);
  members_.clear();
  members_.reserve(member_capacity_);
  free_entry_ = free_member_ = kNone;
  size_ = rover_ = 0;
  sweep_count_ = 1;
  seats_.clear();
  for (Destination* destination : destinations) destination_added(*destination);
}

void LocationCache::destination_added(Destination& destination) {
  const net::Endpoint server{destination.spec.address, destination.spec.port};
  Seat* free = nullptr;
  for (Seat& seat : seats_) {
    if (seat.is_taken && seat.destination == nullptr && seat.server == server) {
      seat.destination = &destination;
      return;
    }
    if (!seat.is_taken && free == nullptr) free = &seat;
  }
  if (free == nullptr) free = &seats_.emplace_back();
  *free = {.destination = &destination, .server = server, .member_count = 0, .is_taken = true};
}

void LocationCache::destination_removed(Destination& destination) noexcept {
  const std::uint32_t index = seat_of(destination);
  if (index == kNone) return;
  seats_[index].destination = nullptr;
  seats_[index].is_taken = seats_[index].member_count > 0;
}

LocationCache::Entry* LocationCache::find(const net::IpAddress& address) noexcept {
  if (buckets_.empty()) return nullptr;
  for (auto i = bucket_of(address); i != kNone; i = entries_[i].next) {
    if (entries_[i].address == address) return &entries_[i];
  }
  return nullptr;
}

LocationCache::Entry* LocationCache::create(const net::IpAddress& address, Timestamp now) noexcept {
  std::uint32_t index = free_entry_;
  if (index != kNone) {
    free_entry_ = entries_[index].next;
  } else if (entries_.size() < std::min(kHardLimit, entries_.capacity())) {
    index = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    return nullptr;
  }
  std::uint32_t& bucket = bucket_of(address);
  entries_[index] = {.address = address,
                     .last_used = now,
                     .last_changed = now,
                     .first_member = kNone,
                     .member_count = 0,
                     .next = bucket};
  bucket = index;
  ++size_;
  return &entries_[index];
}

void LocationCache::add_member(Entry& entry, const Destination& destination,
                               Timestamp now) noexcept {
  const std::uint32_t seat = seat_of(destination);
  if (seat == kNone) return;
  for (auto i = entry.first_member; i != kNone; i = members_[i].next) {
    if (members_[i].seat == seat) return;
  }
  std::uint32_t index = free_member_;
  if (index != kNone) {
    free_member_ = members_[index].next;
  } else if (members_.size() < std::min(member_capacity_, members_.capacity())) {
    index = static_cast<std::uint32_t>(members_.size());
    members_.emplace_back();
  } else {
    return;
  }
  members_[index] = {.seat = seat, .next = entry.first_member};
  entry.first_member = index;
  ++entry.member_count;
  ++seats_[seat].member_count;
  entry.last_changed = now;
}

void LocationCache::remove_member(Entry& entry, const Destination& destination,
                                  Timestamp now) noexcept {
  const std::uint32_t seat = seat_of(destination);
  for (auto* link = &entry.first_member; *link != kNone; link = &members_[*link].next) {
    if (members_[*link].seat != seat) continue;
    drop_member(*link);
    --entry.member_count;
    entry.last_changed = now;
    return;
  }
}

void LocationCache::clear_members(Entry& entry) noexcept {
  while (entry.first_member != kNone) drop_member(entry.first_member);
  entry.member_count = 0;
}

void LocationCache::sweep(Timestamp now, Duration lifetime) noexcept {
  if (buckets_.empty()) return;
  if (sweep_count_ % kSweepsToFull == 0) {
    for (std::uint32_t& bucket : buckets_) sweep_bucket(bucket, now - lifetime);
    sweep_count_ = 1;
    return;
  }
  if (size_ <= kSoftLimit) {
    ++sweep_count_;
    return;
  }
  const std::size_t goal = std::min((size_ - kSoftLimit) * 4 / 3, kSoftLimit / 2);
  std::size_t freed = 0;
  for (std::size_t i = 0; i < buckets_.size() && freed < goal; ++i) {
    rover_ = (rover_ + 1) % buckets_.size();
    freed += sweep_bucket(buckets_[rover_], now - kIdleWhenFull);
  }
}

std::uint32_t& LocationCache::bucket_of(const net::IpAddress& address) noexcept {
  const auto hash = hash_endpoint(key_, address.family(), address.bytes(), {}, {});
  return buckets_[hash % kBuckets];
}

std::uint32_t LocationCache::seat_of(const Destination& destination) const noexcept {
  const auto found = std::find_if(seats_.begin(), seats_.end(), [&destination](const Seat& seat) {
    return seat.destination == &destination;
  });
  return found == seats_.end() ? kNone : static_cast<std::uint32_t>(found - seats_.begin());
}

void LocationCache::drop_member(std::uint32_t& link) noexcept {
  const std::uint32_t index = link;
  link = members_[index].next;
  Seat& seat = seats_[members_[index].seat];
  --seat.member_count;
  if (seat.destination == nullptr && seat.member_count == 0) seat.is_taken = false;
  members_[index].next = free_member_;
  free_member_ = index;
}

std::size_t LocationCache::sweep_bucket(std::uint32_t& bucket, Timestamp limit) noexcept {
  std::size_t freed = 0;
  for (std::uint32_t* link = &bucket; *link != kNone;) {
    Entry& entry = entries_[*link];
    if (entry.last_used > limit) {
      link = &entry.next;
      continue;
    }
    const std::uint32_t index = *link;
    clear_members(entry);
    *link = entry.next;
    entry.next = free_entry_;
    free_entry_ = index;
    --size_;
    ++freed;
  }
  return freed;
}

}  // namespace lb::engine
