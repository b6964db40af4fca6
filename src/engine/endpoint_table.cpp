// SPDX-License-Identifier: Apache-2.0
#include "engine/endpoint_table.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace lb::engine {

EndpointTable::EndpointTable(std::uint32_t capacity, const std::array<std::uint64_t, 2>& hash_key,
                             std::span<Entry> entries, EndpointRoom* room)
    : hash_key_(hash_key),
      capacity_(std::min(capacity, kMaxCapacity)),
      slot_mask_(std::bit_ceil(std::max(capacity_, 1U) * 2) - 1),
      room_(room),
      usable_(count_usable()),
      block_(entries.empty() ? std::size_t{capacity_} + 1 : 0),
      entries_(entries.empty() ? std::span(block_.data(), block_.size()) : entries),
      slots_(std::size_t{slot_mask_} + 1),
      freed_(capacity_) {}

std::uint32_t EndpointTable::count_usable() const noexcept {
  if (room_ == nullptr) return capacity_;
  const std::size_t with_memory = std::max<std::size_t>(room_->entries(), 1) - 1;
  return static_cast<std::uint32_t>(std::min<std::size_t>(with_memory, capacity_));
}

bool EndpointTable::make_room() noexcept {
  if (usable_ == capacity_) return true;
  const std::uint32_t fresh = usable_ + 1 - next_fresh_;
  if (fresh + freed_count_ > kSpare) return true;
  const bool is_extended = room_->extend();
  usable_ = count_usable();
  return is_extended;
}

/// The slot that holds the endpoint, or the empty slot where it would go.
std::uint32_t EndpointTable::slot_of(std::uint32_t tag, net::Protocol protocol,
                                     const net::IpAddress& address, net::Port port) const noexcept {
  std::uint32_t slot = tag & slot_mask_;
  for (; slots_[slot].id != 0; slot = (slot + 1) & slot_mask_) {
    if (slots_[slot].tag != tag) continue;
    if (is(entries_[slots_[slot].id], protocol, address, port)) break;
  }
  return slot;
}

EndpointId EndpointTable::find_any(net::Protocol protocol, const net::IpAddress& address,
                                   net::Port port) const noexcept {
  const EndpointId id = slots_[slot_of(tag(protocol, address, port), protocol, address, port)].id;
  if (id != 0) recent_[recent_place(protocol, address, port)] = id;
  return id;
}

EndpointId EndpointTable::acquire(net::Protocol protocol, const net::IpAddress& address,
                                  net::Port port) noexcept {
  const EndpointId known = recent_[recent_place(protocol, address, port)];
  if (entries_[known].references != 0 && is(entries_[known], protocol, address, port)) {
    ++entries_[known].references;
    return known;
  }
  const std::uint32_t hash = tag(protocol, address, port);
  Slot& slot = slots_[slot_of(hash, protocol, address, port)];
  if (slot.id != 0) {
    ++entries_[slot.id].references;
    recent_[recent_place(protocol, address, port)] = slot.id;
    return slot.id;
  }
  const EndpointId id = take_number();
  if (id == 0) return 0;
  slot = {.tag = hash, .id = id};
  entries_[id] = {.address = address, .port = port, .protocol = protocol, .references = 1};
  ++size_;
  return id;
}

EndpointId EndpointTable::take_number() noexcept {
  if (next_fresh_ <= usable_) return next_fresh_++;
  if (freed_count_ == 0) return 0;
  const EndpointId id = freed_[freed_head_];
  freed_head_ = freed_head_ + 1 == capacity_ ? 0 : freed_head_ + 1;
  --freed_count_;
  return id;
}

void EndpointTable::retain(EndpointId id) noexcept {
  assert(id != 0 && id < next_fresh_ && entries_[id].references != 0);
  ++entries_[id].references;
}

bool EndpointTable::release(EndpointId id) noexcept {
  assert(id != 0 && id < next_fresh_ && entries_[id].references != 0);
  Entry& entry = entries_[id];
  if (--entry.references != 0) return false;
  empty_slot(slot_of(tag(entry.protocol, entry.address, entry.port), entry.protocol, entry.address,
                     entry.port));
  const std::uint64_t tail = std::uint64_t{freed_head_} + freed_count_;
  freed_[tail < capacity_ ? tail : tail - capacity_] = id;
  ++freed_count_;
  --size_;
  return true;
}

/// Empties the slot and moves back those behind it that would no longer be found, so that no
/// tombstones pile up.
void EndpointTable::empty_slot(std::uint32_t slot) noexcept {
  std::uint32_t hole = slot;
  for (std::uint32_t next = (hole + 1) & slot_mask_; slots_[next].id != 0;
       next = (next + 1) & slot_mask_) {
    // An entry may move if the hole lies between the slot it belongs in and where it is.
    const std::uint32_t from_home = (next - slots_[next].tag) & slot_mask_;
    const std::uint32_t from_hole = (next - hole) & slot_mask_;
    if (from_home < from_hole) continue;
    slots_[hole] = slots_[next];
    hole = next;
  }
  slots_[hole] = {};
}

void EndpointTable::begin_adoption() noexcept {
  next_fresh_ = usable_ + 1;
  for (auto& entry : entries_.first(std::size_t{usable_} + 1)) {
    if (entry.references != 0) entry.references = 0;  // leaves pages alone that were never used
  }
}

bool EndpointTable::can_adopt(EndpointId id) const noexcept {
  if (id == 0 || id > usable_) return false;
  const auto& entry = entries_[id];
  if (entry.references != 0) return true;
  const std::uint32_t hash = tag(entry.protocol, entry.address, entry.port);
  return slots_[slot_of(hash, entry.protocol, entry.address, entry.port)].id == 0;
}

void EndpointTable::adopt(EndpointId id) noexcept {
  auto& entry = entries_[id];
  if (entry.references++ != 0) return;
  const std::uint32_t hash = tag(entry.protocol, entry.address, entry.port);
  slots_[slot_of(hash, entry.protocol, entry.address, entry.port)] = {.tag = hash, .id = id};
  ++size_;
}

void EndpointTable::end_adoption() noexcept {
  while (next_fresh_ > 1 && entries_[next_fresh_ - 1].references == 0) --next_fresh_;
  for (EndpointId id = 1; id < next_fresh_; ++id) {
    if (entries_[id].references == 0) freed_[freed_count_++] = id;
  }
}

std::uint32_t EndpointTable::size() const noexcept { return size_; }

std::uint32_t EndpointTable::capacity() const noexcept { return capacity_; }

}  // namespace lb::engine
