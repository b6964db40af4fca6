// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/flow_table.hpp"

#include <array>
#include <bit>

#include "engine/flow/published.hpp"

namespace lb::engine {
namespace {

std::uint64_t key4(const FlowKey& key) noexcept {
  return flow_key4(key.client.word(0).to_network(), key.client_port.to_network(), key.end);
}

std::uint64_t hash6(const FlowMemory& memory, const FlowKey& key) noexcept {
  const auto client = halves(key.client);
  return flow_hash6(memory.settings, client[0], client[1],
                    flow_tail6(key.client_port.to_network(), key.end));
}

template <class Bucket>
std::array<Bucket*, 2> buckets(std::span<Bucket> all, std::uint64_t hash) noexcept {
  const auto count = static_cast<std::uint32_t>(all.size());
  return {&all[flow_first(hash, count)], &all[flow_second(hash, count)]};
}

/// The first slot of the two buckets that `is_wanted`; null: none.
template <class Bucket, class Wanted>
auto* find_slot(std::span<Bucket> all, std::uint64_t hash, Wanted is_wanted) noexcept {
  for (auto* bucket : buckets(all, hash)) {
    for (auto& slot : bucket->slots) {
      if (is_wanted(slot)) return &slot;
    }
  }
  return static_cast<decltype(&all[0].slots[0])>(nullptr);
}

}  // namespace

flow4* FlowTable::find4(const FlowKey& key) const noexcept {
  const auto word = key4(key);
  return find_slot(memory_.flows4, flow_hash4(memory_.settings, word),
                   [word](const flow4& slot) { return slot.key == word; });
}

flow6* FlowTable::find6(const FlowKey& key) const noexcept {
  const auto client = halves(key.client);
  const auto port = key.client_port.to_network();
  return find_slot(memory_.flows6, hash6(memory_, key), [&](const flow6& slot) {
    return slot.client[0] == client[0] && slot.client[1] == client[1] && slot.client_port == port &&
           slot.end == key.end;
  });
}

flow6* FlowTable::free6(const FlowKey& key) const noexcept {
  return find_slot(memory_.flows6, hash6(memory_, key),
                   [](const flow6& slot) { return slot.end == 0; });
}

FlowKey FlowTable::key_of(const flow4& slot) noexcept {
  return {.client = net::IpAddress::v4(net::Be32::from_network(static_cast<__u32>(slot.key))),
          .client_port = net::Port::from_network(static_cast<__u16>(slot.key >> 32U)),
          .end = static_cast<std::uint32_t>(slot.key >> 48U)};
}

FlowKey FlowTable::key_of(const flow6& slot) noexcept {
  return {.client = net::IpAddress::v6(
              std::bit_cast<std::array<std::uint8_t, 16>>(std::to_array(slot.client))),
          .client_port = net::Port::from_network(slot.client_port),
          .end = slot.end};
}

void FlowTable::clear(flow4& slot) noexcept { store_shared<__u64>(slot.key, 0); }

void FlowTable::clear(flow6& slot) noexcept {
  change_shared(slot, [](flow6& entry) { store_shared<__u16>(entry.end, 0); });
}

bool FlowTable::put4(std::uint64_t key, std::uint64_t words) noexcept {
  const auto both = buckets(memory_.flows4, flow_hash4(memory_.settings, key));
  __builtin_prefetch(both[1]);  // wanted whatever the first has: the two misses at a time
  flow4* free = nullptr;
  for (auto* bucket : both) {
    for (auto& slot : bucket->slots) {
      if (slot.key == key) {
        store_shared<__u64>(slot.words, words);
        return true;
      }
      if (free == nullptr && slot.key == 0) free = &slot;
    }
  }
  if (free == nullptr) return false;
  store_shared<__u64>(free->words, words);
  store_shared<__u64>(free->key, key);
  ++size_;
  return true;
}

bool FlowTable::put(const FlowKey& key, std::uint64_t words) noexcept {
  if (key.client.is_v4()) return put4(key4(key), words);
  const std::uint64_t wide_words = words;
  if (auto* slot = find6(key)) {
    store_shared<__u64>(slot->words, wide_words);
    return true;
  }
  auto* slot = free6(key);
  if (slot == nullptr) return false;
  change_shared(*slot, [&](flow6& entry) {
    const auto client = halves(key.client);
    store_shared<__u64>(entry.client[0], client[0]);
    store_shared<__u64>(entry.client[1], client[1]);
    store_shared<__u64>(entry.words, wide_words);
    store_shared(entry.client_port, key.client_port.to_network());
    store_shared(entry.end, static_cast<__u16>(key.end));
  });
  ++size_;
  return true;
}

void FlowTable::erase(const FlowKey& key) noexcept {
  if (key.client.is_v4()) {
    auto* slot = find4(key);
    if (slot == nullptr) return;
    clear(*slot);
  } else {
    auto* slot = find6(key);
    if (slot == nullptr) return;
    clear(*slot);
  }
  --size_;
}

std::uint64_t FlowTable::find(const FlowKey& key) const noexcept {
  if (key.client.is_v4()) {
    const auto* slot = find4(key);
    return slot == nullptr ? 0 : load_shared(slot->words);
  }
  const auto* slot = find6(key);
  return slot == nullptr ? 0 : load_shared(slot->words);
}

}  // namespace lb::engine
