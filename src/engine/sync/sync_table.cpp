// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_table.hpp"

#include <algorithm>

#include "engine/director_state.hpp"
#include "engine/sync/sync_master.hpp"
#include "engine/sync/sync_message.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

constexpr std::uint32_t kRecordsAtOnce = 1024;
constexpr unsigned kMaxEntries = 255;  // the count is one byte
constexpr int kVersion = 1;

static_assert(kLeastSyncTableRoom >= kSyncHeaderV1 + kMaxSyncEntry);

std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

}  // namespace

SyncTablePart write_sync_table(DirectorState& state, std::uint32_t cursor,
                               std::span<std::byte> room) noexcept {
  if (!state.sync.master || room.size() < kLeastSyncTableRoom) return {};
  const auto& table = state.connections.table();
  room = room.first(std::min<std::size_t>(room.size(), UINT16_MAX));
  auto id = std::max<ConnectionId>(cursor, 1);
  if (id >= table.end()) return {};
  const auto end = std::min(table.end(), id + kRecordsAtOnce);
  std::size_t size = kSyncHeaderV1;
  unsigned entries = 0;
  for (; id < end && entries < kMaxEntries; ++id) {
    if (!table.contains(id) || table.at(id).committed == 0 || !may_be_told(state, id)) continue;
    const auto entry = sync_entry_of(state, id);
    const auto length = sync_entry_size(entry, kVersion);
    if (padded(size) + length > room.size()) break;
    std::fill(room.begin() + static_cast<std::ptrdiff_t>(size),
              room.begin() + static_cast<std::ptrdiff_t>(padded(size)), std::byte{0});
    write_sync_entry(entry, kVersion, room.subspan(padded(size), length));
    size = padded(size) + length;
    ++entries;
  }
  const auto next = id < table.end() ? id : 0;
  if (entries == 0) return {.size = 0, .next = next};
  std::fill_n(room.begin(), kSyncHeaderV1, std::byte{0});
  net::store(room, 1, static_cast<std::uint8_t>(state.sync.master->sync_id));
  net::store(room, 2, net::Be16::from_host(static_cast<std::uint16_t>(size)));
  net::store(room, 4, static_cast<std::uint8_t>(entries));
  net::store(room, 5, static_cast<std::uint8_t>(kVersion));
  return {.size = size, .next = next};
}

}  // namespace lb::engine
