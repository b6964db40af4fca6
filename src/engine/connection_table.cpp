// SPDX-License-Identifier: Apache-2.0
#include "engine/connection_table.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace lb::engine {
namespace {

// A table full of masqueraded connections has two entries for each and fills half of the room.
constexpr std::size_t kConnectionsPerBucket = 3;

std::size_t bucket_count(std::uint32_t capacity) { return capacity / kConnectionsPerBucket + 1; }

template <class Word>
Word load(const std::uint8_t* bytes) noexcept {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  if constexpr (std::endian::native == std::endian::big) {
    word = sizeof word == 8
               ? static_cast<Word>(__builtin_bswap64(word))
               : static_cast<Word>(__builtin_bswap32(static_cast<std::uint32_t>(word)));
  }
  return word;
}

// A bit for each byte that is zero, lowest first.
constexpr std::uint32_t zero_bytes(std::uint64_t word) noexcept {
  constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  const std::uint64_t highest = ~(((word & kLow) + kLow) | word | kLow);
  // Byte n has its bit at 8n, and the factor brings it to 56 + n.
  return static_cast<std::uint32_t>(((highest >> 7) * 0x0102040810204080) >> 56);
}

bool has_client(const ConnectionRecord& record, net::Protocol protocol,
                const net::IpAddress& client, net::Port client_port) noexcept {
  return record.client_port == client_port && record.protocol == protocol &&
         record.family == client.family() && net::is_equal(record.client, client.bytes());
}

}  // namespace

std::uint32_t ConnectionTable::Bucket::candidates(std::uint8_t tag) const noexcept {
  const std::uint64_t wanted = 0x0101010101010101U * tag;
  const std::uint64_t last = load<std::uint32_t>(tags.data() + 8);
  return zero_bytes(load<std::uint64_t>(tags.data()) ^ wanted) | (zero_bytes(last ^ wanted) & 0xfU)
                                                                     << 8;
}

ConnectionTable::ConnectionTable(std::uint32_t capacity, const HashKey& hash_key, BlockHint hint,
                                 std::span<ConnectionRecord> records)
    : hash_key_(hash_key),
      capacity_(std::min(capacity, kMaxCapacity)),
      block_(records.empty() ? std::size_t{capacity_} + 1 : 0, hint),
      records_(records.empty() ? std::span(block_.data(), block_.size()) : records),
      sides_(records_.size(), hint),
      buckets_(bucket_count(capacity_), hint),
      overflow_(2 * capacity_) {}

ConnectionId ConnectionTable::create() noexcept {
  ConnectionId id = free_;
  if (id != 0) {
    free_ = sides_[id] >> kUseBits;
  } else if (end_ <= capacity_) {
    id = end_++;
  } else {
    return 0;
  }
  records_[id] = ConnectionRecord{};
  sides_[id] = kInUse;
  ++size_;
  return id;
}

void ConnectionTable::file(ConnectionId id, bool by_reply) noexcept {
  assert(contains(id));
  unfile(id);
  const ConnectionRecord& record = records_[id];
  const ClientHash hash = hash_of(record);
  insert(buckets_[place(hash, record.virtual_end)], id, tag_of(hash));
  set_use(id, kFiled);
  if (by_reply) {
    insert(buckets_[place(hash, record.real_end)], id | kReplyBit, tag_of(hash));
    set_use(id, kFiledForReplies);
  }
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
  const std::uint32_t use = sides_[id] & kUseMask;
  if (use == kInUse) return;
  const ConnectionRecord& record = records_[id];
  const ClientHash hash = hash_of(record);
  remove(buckets_[place(hash, record.virtual_end)], id);
  if (use == kFiledForReplies) remove(buckets_[place(hash, record.real_end)], id | kReplyBit);
  set_use(id, kInUse);
}

void ConnectionTable::destroy(ConnectionId id) noexcept {
  assert(contains(id));
  if (!contains(id)) return;
  records_[id].committed = 0;
  std::atomic_signal_fence(std::memory_order_release);
  unfile(id);
  sides_[id] = free_ << kUseBits | kFree;
  free_ = id;
  --size_;
}

void ConnectionTable::insert(Bucket& bucket, Entry entry, std::uint8_t tag) noexcept {
  if (bucket.entries.back() != 0) overflow_.push(bucket.more, bucket.entries.back());
  std::copy_backward(bucket.entries.begin(), bucket.entries.end() - 1, bucket.entries.end());
  std::copy_backward(bucket.tags.begin(), bucket.tags.end() - 1, bucket.tags.end());
  bucket.entries.front() = entry;
  bucket.tags.front() = tag;
}

void ConnectionTable::remove(Bucket& bucket, Entry entry) noexcept {
  const auto found = std::find(bucket.entries.begin(), bucket.entries.end(), entry);
  if (found == bucket.entries.end()) {
    overflow_.remove(bucket.more, entry);
    return;
  }
  const auto tag = bucket.tags.begin() + (found - bucket.entries.begin());
  std::copy(found + 1, bucket.entries.end(), found);
  std::copy(tag + 1, bucket.tags.end(), tag);
  const Entry moved = overflow_.first(bucket.more);
  if (moved != 0) overflow_.remove(bucket.more, moved);
  bucket.entries.back() = moved;
  bucket.tags.back() = moved == 0 ? std::uint8_t{0} : tag_of(hash_of(records_[moved & ~kReplyBit]));
}

template <class Predicate>
ConnectionId ConnectionTable::search(const Bucket& bucket, ClientHash hash, Entry kind,
                                     Predicate is_wanted) const noexcept {
  const auto look_at = [&](Entry entry) noexcept {
    return (entry & kReplyBit) == kind && is_wanted(records_[entry & ~kReplyBit]);
  };
  for (auto left = bucket.candidates(tag_of(hash)); left != 0; left &= left - 1) {
    const Entry entry = bucket.entries[static_cast<std::size_t>(std::countr_zero(left))];
    if (entry != 0 && look_at(entry)) return entry & ~kReplyBit;
  }
  return bucket.more == 0 ? 0 : overflow_.find(bucket.more, look_at) & ~kReplyBit;
}

ConnectionId ConnectionTable::find(ClientHash hash, net::Protocol protocol,
                                   const net::IpAddress& client, net::Port client_port,
                                   EndpointId virtual_end, bool want_template) const noexcept {
  return search(buckets_[place(hash, virtual_end)], hash, 0,
                [&](const ConnectionRecord& record) noexcept {
                  return record.virtual_end == virtual_end &&
                         has_client(record, protocol, client, client_port) &&
                         ((record.flags & kConnectionTemplate) != 0) == want_template;
                });
}

ConnectionId ConnectionTable::find_reply(ClientHash hash, net::Protocol protocol,
                                         const net::IpAddress& client, net::Port client_port,
                                         EndpointId real_end) const noexcept {
  return search(buckets_[place(hash, real_end)], hash, kReplyBit,
                [&](const ConnectionRecord& record) noexcept {
                  return record.real_end == real_end &&
                         has_client(record, protocol, client, client_port);
                });
}

void ConnectionTable::prefetch_bucket(ClientHash hash, EndpointId end) const noexcept {
  __builtin_prefetch(&buckets_[place(hash, end)], 1);
}

void ConnectionTable::prefetch_record(ClientHash hash, EndpointId end,
                                      bool by_reply) const noexcept {
  const Bucket& bucket = buckets_[place(hash, end)];
  const Entry kind = by_reply ? kReplyBit : 0;
  for (auto left = bucket.candidates(tag_of(hash)); left != 0; left &= left - 1) {
    const Entry entry = bucket.entries[static_cast<std::size_t>(std::countr_zero(left))];
    if ((entry & kReplyBit) != kind) continue;
    __builtin_prefetch(&records_[entry & ~kReplyBit], 1);
    return;
  }
}

}  // namespace lb::engine
