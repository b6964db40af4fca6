// SPDX-License-Identifier: Apache-2.0
#include "engine/overflow_lists.hpp"

#include <cassert>

namespace lb::engine {
namespace {

// No secret: entries are numbers that the director gives out.
std::uint32_t hash(OverflowLists::Entry entry) noexcept {
  std::uint32_t word = entry * 0x9e3779b1U;
  word ^= word >> 15U;
  word *= 0x85ebca6bU;
  return word ^ (word >> 13U);
}

}  // namespace

OverflowLists::OverflowLists(std::uint32_t capacity)
    : nodes_(std::size_t{capacity} + 1), heads_(std::size_t{capacity} + 1) {}

// Chains below chains_ - level_ are split, and those from level_ on are what came of it.
std::uint32_t OverflowLists::chain_of(Entry entry) const noexcept {
  const std::uint32_t word = hash(entry);
  const std::uint32_t wide = word & (2 * level_ - 1);
  return wide < chains_ ? wide : word & (level_ - 1);
}

/// Splits the next chain: what of it has the next bit of the hash goes to the new one.
void OverflowLists::add_chain() noexcept {
  std::uint32_t* from = &heads_[chains_ - level_];
  std::uint32_t& added = heads_[chains_++];
  while (*from != 0) {
    const std::uint32_t number = *from;
    Node& node = nodes_[number];
    if ((hash(node.entry) & level_) == 0) {
      from = &node.chained;
      continue;
    }
    *from = node.chained;
    node.chained = added;
    added = number;
  }
  if (chains_ == 2 * level_) level_ = chains_;
}

void OverflowLists::push(List& list, Entry entry) noexcept {
  std::uint32_t number = free_;
  if (number != 0) {
    free_ = nodes_[number].next;
  } else {
    assert(end_ < nodes_.size());
    number = end_++;
  }
  if (++size_ > chains_) add_chain();
  std::uint32_t& head = heads_[chain_of(entry)];
  nodes_[number] = {.entry = entry, .next = list, .previous = 0, .chained = head};
  head = number;
  if (list != 0) nodes_[list].previous = number;
  list = number;
}

void OverflowLists::remove(List& list, Entry entry) noexcept {
  std::uint32_t* from = &heads_[chain_of(entry)];
  while (*from != 0 && nodes_[*from].entry != entry) from = &nodes_[*from].chained;
  const std::uint32_t number = *from;
  assert(number != 0);
  if (number == 0) return;
  const Node node = nodes_[number];
  *from = node.chained;
  if (node.next != 0) nodes_[node.next].previous = node.previous;
  if (node.previous != 0) {
    nodes_[node.previous].next = node.next;
  } else {
    list = node.next;
  }
  nodes_[number] = {.entry = 0, .next = free_, .previous = 0, .chained = 0};
  free_ = number;
  --size_;
}

}  // namespace lb::engine
