// SPDX-License-Identifier: Apache-2.0
#include "engine/connection_table.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>

namespace lb::engine {

ConnectionTable::ConnectionTable(std::uint32_t capacity,
                                 const std::array<std::uint64_t, 2>& hash_key)
    : hash_key_(hash_key),
      capacity_(std::min(capacity, kMaxCapacity)),
      bucket_mask_(std::bit_ceil(std::max(capacity_, 1U)) - 1),
      block_(std::size_t{capacity_} + 1),
      records_(block_.data(), block_.size()),
      links_(block_.size()),
      heads_(std::size_t{bucket_mask_} + 1) {}

ConnectionId ConnectionTable::create() noexcept {
  ConnectionId id = free_;
  if (id != 0) {
    free_ = links_[id].chain[kOriginal].next;
  } else if (end_ <= capacity_) {
    id = end_++;
  } else {
    return 0;
  }
  records_[id] = ConnectionRecord{};
  links_[id] = {.chain = {}, .controlled = 0, .in_use = 1};
  ++size_;
  return id;
}

void ConnectionTable::file(ConnectionId id, bool by_reply) noexcept {
  assert(contains(id));
  unfile(id);
  link(id, kOriginal);
  if (by_reply) link(id, kReply);
  commit(id);
}

void ConnectionTable::commit(ConnectionId id) noexcept {
  // The process may end at any instruction and leave the record to its successor: all else must
  // be written by then. One thread writes, so holding back the compiler is enough.
  std::atomic_signal_fence(std::memory_order_release);
  records_[id].committed = 1;
}

void ConnectionTable::unfile(ConnectionId id) noexcept {
  assert(contains(id));
  unlink(id, kOriginal);
  unlink(id, kReply);
}

void ConnectionTable::destroy(ConnectionId id) noexcept {
  assert(contains(id));
  if (!contains(id)) return;
  records_[id].committed = 0;
  std::atomic_signal_fence(std::memory_order_release);
  unfile(id);
  links_[id].in_use = 0;
  links_[id].chain[kOriginal].next = free_;
  free_ = id;
  --size_;
}

void ConnectionTable::link(ConnectionId id, Chain chain) noexcept {
  const ConnectionRecord& record = records_[id];
  const EndpointId end = chain == kOriginal ? record.virtual_end : record.real_end;
  const std::uint32_t at =
      bucket(record.family, record.client, record.client_port, end, record.protocol);
  ConnectionId& first = heads_[at].first[chain];
  links_[id].chain[chain] = {.next = first, .previous = kBucketBit | at};
  if (first != 0) links_[first].chain[chain].previous = id;
  first = id;
}

void ConnectionTable::unlink(ConnectionId id, Chain chain) noexcept {
  Link& link = links_[id].chain[chain];
  if (link.previous == 0) return;
  if ((link.previous & kBucketBit) != 0) {
    heads_[link.previous & ~kBucketBit].first[chain] = link.next;
  } else {
    links_[link.previous].chain[chain].next = link.next;
  }
  if (link.next != 0) links_[link.next].chain[chain].previous = link.previous;
  link = {};
}

ConnectionId ConnectionTable::find(net::Protocol protocol, const net::IpAddress& client,
                                   net::Port client_port, EndpointId virtual_end,
                                   bool want_template) const noexcept {
  const std::uint32_t at =
      bucket(client.family(), client.bytes(), client_port, virtual_end, protocol);
  ConnectionId id = heads_[at].first[kOriginal];
  for (; id != 0; id = links_[id].chain[kOriginal].next) {
    const ConnectionRecord& record = records_[id];
    if (record.client_port == client_port && record.virtual_end == virtual_end &&
        record.protocol == protocol && record.client == client.bytes() &&
        record.family == client.family() &&
        ((record.flags & kConnectionTemplate) != 0) == want_template) {
      break;
    }
  }
  return id;
}

ConnectionId ConnectionTable::find_reply(net::Protocol protocol, const net::IpAddress& client,
                                         net::Port client_port,
                                         EndpointId real_end) const noexcept {
  const std::uint32_t at = bucket(client.family(), client.bytes(), client_port, real_end, protocol);
  ConnectionId id = heads_[at].first[kReply];
  for (; id != 0; id = links_[id].chain[kReply].next) {
    const ConnectionRecord& record = records_[id];
    if (record.client_port == client_port && record.real_end == real_end &&
        record.protocol == protocol && record.client == client.bytes() &&
        record.family == client.family()) {
      break;
    }
  }
  return id;
}

void ConnectionTable::prefetch(net::Protocol protocol, const net::IpAddress& client,
                               net::Port client_port, EndpointId end) const noexcept {
  __builtin_prefetch(&heads_[bucket(client.family(), client.bytes(), client_port, end, protocol)]);
}

ConnectionRecord& ConnectionTable::at(ConnectionId id) noexcept {
  assert(contains(id));
  return records_[id];
}

const ConnectionRecord& ConnectionTable::at(ConnectionId id) const noexcept {
  assert(contains(id));
  return records_[id];
}

bool ConnectionTable::contains(ConnectionId id) const noexcept {
  return id < end_ && links_[id].in_use != 0;
}

std::uint32_t& ConnectionTable::controlled(ConnectionId id) noexcept {
  assert(contains(id));
  return links_[id].controlled;
}

std::uint32_t ConnectionTable::size() const noexcept { return size_; }

std::uint32_t ConnectionTable::capacity() const noexcept { return capacity_; }

std::uint32_t ConnectionTable::end() const noexcept { return end_; }

}  // namespace lb::engine
