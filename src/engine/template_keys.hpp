// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/connection_table.hpp"
#include "engine/siphash.hpp"
#include "engine/zeroed_array.hpp"

namespace lb::engine {

/// The key data of templates that a persistence engine made (a Call-ID), and the index by it.
///
/// Such templates are found by their data together with the key of every template (protocol,
/// client, virtual end): all templates of a client have that key in common, so filing them by it
/// alone would make one long chain. Fixed capacity: when it is full, no further template with
/// key data is made. Hashed under a secret key, since clients choose the data.
class TemplateKeys {
 public:
  static constexpr std::size_t kMaxSize = 255;
  /// Entries are large, and one for every connection would be wasted on most directors.
  static constexpr std::uint32_t kMaxCapacity = 1U << 20;

  TemplateKeys(std::uint32_t connections, const HashKey& hash_key);

  /// Gives `id`, whose record has the fields of its key, its data and files it; false if there is
  /// no room or the data is too long.
  [[nodiscard]] bool add(ConnectionId id, const ConnectionRecord& record,
                         std::string_view data) noexcept;
  /// The template filed last with this data and the key fields of `wanted`; 0 if there is none.
  [[nodiscard]] ConnectionId find(const ConnectionTable& table, const ConnectionRecord& wanted,
                                  std::string_view data) const noexcept;
  /// Makes it unfindable; its data stays. Nothing happens to one that has none; so below.
  void unfile(ConnectionId id) noexcept;
  /// Takes its data away.
  void remove(ConnectionId id) noexcept;
  /// Empty for a record without key data.
  [[nodiscard]] std::string_view data(ConnectionId id) const noexcept;
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

 private:
  using EntryId = std::uint32_t;  // 0: none
  struct Entry {
    ConnectionId owner;
    std::uint32_t bucket;
    EntryId next;      // older; of a free entry: the next free one
    EntryId previous;  // newer; 0: first of its bucket
    std::uint8_t is_filed;
    std::uint8_t size;
    std::array<char, kMaxSize> bytes;
    [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }
  };
  [[nodiscard]] std::uint32_t bucket(const ConnectionRecord& record,
                                     std::string_view data) const noexcept;

  HashKey hash_key_;
  std::uint32_t capacity_;
  std::uint32_t bucket_mask_;
  ZeroedArray<EntryId> entry_of_;  // by connection
  ZeroedArray<Entry> entries_;     // index 0 unused
  ZeroedArray<EntryId> heads_;
  EntryId free_ = 0;
  EntryId end_ = 1;  // entries from here on were never used
};

}  // namespace lb::engine
