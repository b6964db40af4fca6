// SPDX-License-Identifier: Apache-2.0
#include "engine/template_keys.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lb::engine {
namespace {

std::uint64_t load_word(std::string_view data) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, data.data(), std::min(data.size(), sizeof word));
  return word;
}

bool has_key_of(const ConnectionRecord& a, const ConnectionRecord& b) noexcept {
  return a.virtual_end == b.virtual_end && a.protocol == b.protocol && a.family == b.family &&
         a.client == b.client;
}

}  // namespace

TemplateKeys::TemplateKeys(std::uint32_t connections, const HashKey& hash_key)
    : hash_key_(hash_key),
      capacity_(std::min(connections, kMaxCapacity)),
      bucket_mask_(std::bit_ceil(std::max(capacity_, 1U)) - 1),
      entry_of_(std::size_t{connections} + 1),
      entries_(std::size_t{capacity_} + 1),
      heads_(std::size_t{bucket_mask_} + 1) {}

std::uint32_t TemplateKeys::bucket(const ConnectionRecord& record,
                                   std::string_view data) const noexcept {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  SipHash13 hash(hash_key_);
  hash.word(hash_connection(hash_key_, record.family, record.client, net::Port{},
                            record.virtual_end, record.protocol));
  const auto size = data.size();
  for (; data.size() >= kWord; data.remove_prefix(kWord)) hash.word(load_word(data));
  return static_cast<std::uint32_t>(hash.finish(load_word(data), size)) & bucket_mask_;
}

bool TemplateKeys::add(ConnectionId id, const ConnectionRecord& record,
                       std::string_view data) noexcept {
  if (data.empty() || data.size() > kMaxSize) return false;
  EntryId at = free_;
  if (at != 0) {
    free_ = entries_[at].next;
  } else if (end_ <= capacity_) {
    at = end_++;
  } else {
    return false;
  }
  auto& entry = entries_[at];
  entry.owner = id;
  entry.bucket = bucket(record, data);
  entry.next = heads_[entry.bucket];
  entry.previous = 0;
  entry.is_filed = 1;
  entry.size = static_cast<std::uint8_t>(data.size());
  std::copy(data.begin(), data.end(), entry.bytes.begin());
  if (entry.next != 0) entries_[entry.next].previous = at;
  heads_[entry.bucket] = at;
  entry_of_[id] = at;
  return true;
}

ConnectionId TemplateKeys::find(const ConnectionTable& table, const ConnectionRecord& wanted,
                                std::string_view data) const noexcept {
  for (auto at = heads_[bucket(wanted, data)]; at != 0; at = entries_[at].next) {
    const auto& entry = entries_[at];
    if (entry.view() == data && has_key_of(table.at(entry.owner), wanted)) return entry.owner;
  }
  return 0;
}

void TemplateKeys::unfile(ConnectionId id) noexcept {
  const auto at = entry_of_[id];
  auto& entry = entries_[at];
  if (at == 0 || entry.is_filed == 0) return;
  if (entry.previous != 0) {
    entries_[entry.previous].next = entry.next;
  } else {
    heads_[entry.bucket] = entry.next;
  }
  if (entry.next != 0) entries_[entry.next].previous = entry.previous;
  entry.is_filed = 0;
}

void TemplateKeys::remove(ConnectionId id) noexcept {
  const auto at = entry_of_[id];
  if (at == 0) return;
  unfile(id);
  entries_[at].next = free_;
  free_ = at;
  entry_of_[id] = 0;
}

std::string_view TemplateKeys::data(ConnectionId id) const noexcept {
  const auto at = entry_of_[id];
  return at == 0 ? std::string_view{} : entries_[at].view();
}

}  // namespace lb::engine
