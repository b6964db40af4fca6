// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/zeroed_array.hpp"

namespace lb::engine {

/// What does not fit into the buckets of a hash table: a list behind each bucket that overflows.
///
/// An entry is taken out in constant time however long its list is: a client may give thousands of
/// connections the same reply key (one source port, many ports of a mark service). So lists are
/// linked both ways, and the node of an entry is found in an index of all of them. The index grows
/// by one chain with every node (linear hashing, Litwin 1980): nothing is ever moved at once, and
/// of the memory that is reserved for the worst case, in which all entries lie here, only what was
/// needed is touched.
class OverflowLists {
 public:
  /// What lies in a list; not 0, and no more than once in all lists together.
  using Entry = std::uint32_t;
  /// The first node of a list; 0: it is empty.
  using List = std::uint32_t;

  /// For so many entries (less than 2^32) at once.
  explicit OverflowLists(std::uint32_t capacity);

  /// Puts an entry at the beginning.
  void push(List& list, Entry entry) noexcept;
  /// Takes an entry of the list out.
  void remove(List& list, Entry entry) noexcept;
  /// The entry at the beginning; 0: there is none.
  [[nodiscard]] Entry first(List list) const noexcept { return nodes_[list].entry; }
  /// The first entry that `is_wanted`; 0: none.
  template <class Wanted>
  [[nodiscard]] Entry find(List list, Wanted is_wanted) const noexcept {
    while (list != 0 && !is_wanted(nodes_[list].entry)) list = nodes_[list].next;
    return nodes_[list].entry;
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

 private:
  struct Node {
    Entry entry;
    std::uint32_t next;      // older; 0: none. Of a free node: the next free one
    std::uint32_t previous;  // newer; 0: the first
    std::uint32_t chained;   // the next of its chain in the index
  };
  [[nodiscard]] std::uint32_t chain_of(Entry entry) const noexcept;
  void add_chain() noexcept;

  ZeroedArray<Node> nodes_;           // index 0: none
  ZeroedArray<std::uint32_t> heads_;  // of the chains
  std::uint32_t chains_ = 1;
  std::uint32_t level_ = 1;  // the largest power of two that is not larger than chains_
  std::uint32_t free_ = 0;
  std::uint32_t end_ = 1;  // nodes from here on were never used
  std::uint32_t size_ = 0;
};

}  // namespace lb::engine
