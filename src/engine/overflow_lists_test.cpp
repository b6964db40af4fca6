// SPDX-License-Identifier: Apache-2.0
#include "engine/overflow_lists.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

namespace lb::engine {
namespace {

using Entry = OverflowLists::Entry;

std::vector<Entry> all_of(const OverflowLists& lists, OverflowLists::List list) {
  std::vector<Entry> entries;
  (void)lists.find(list, [&](Entry entry) {
    entries.push_back(entry);
    return false;
  });
  return entries;
}

TEST(OverflowLists, TheNewestComesFirst) {
  OverflowLists lists(4);
  OverflowLists::List list = 0;
  EXPECT_EQ(lists.first(list), 0U);
  for (const Entry entry : {7U, 1U, 0x80000007U}) lists.push(list, entry);
  EXPECT_EQ(all_of(lists, list), (std::vector<Entry>{0x80000007U, 1, 7}));
  EXPECT_EQ(lists.first(list), 0x80000007U);
  EXPECT_EQ(lists.find(list, [](Entry entry) { return entry < 8; }), 1U);
  EXPECT_EQ(lists.find(list, [](Entry entry) { return entry == 8; }), 0U);
  lists.remove(list, 1);
  EXPECT_EQ(all_of(lists, list), (std::vector<Entry>{0x80000007U, 7}));
  lists.remove(list, 0x80000007U);
  lists.remove(list, 7);
  EXPECT_EQ(list, 0U);
  EXPECT_EQ(lists.size(), 0U);
}

TEST(OverflowLists, RandomOperationsMatchVectors) {
  constexpr Entry kMost = 3000;
  constexpr std::size_t kLists = 40;
  std::mt19937 random(3);
  OverflowLists lists(kMost);
  std::vector<OverflowLists::List> heads(kLists);
  std::vector<std::vector<Entry>> model(kLists);
  std::vector<std::size_t> where(kMost + 1, kLists);  // kLists: nowhere
  std::uint32_t size = 0;
  for (int step = 0; step < 200000; ++step) {
    // Full and empty by turns.
    const bool grows = step / 20000 % 2 == 0;
    const Entry entry = static_cast<Entry>(random() % kMost) + 1;
    const bool pushes = random() % 4 == 0 ? !grows : grows;
    if (pushes && where[entry] == kLists) {
      where[entry] = random() % kLists;
      lists.push(heads[where[entry]], entry);
      model[where[entry]].insert(model[where[entry]].begin(), entry);
      ++size;
    } else if (!pushes && where[entry] != kLists) {
      auto& list = model[where[entry]];
      lists.remove(heads[where[entry]], entry);
      list.erase(std::find(list.begin(), list.end(), entry));
      where[entry] = kLists;
      --size;
    }
    ASSERT_EQ(lists.size(), size);
    const std::size_t looked_at = random() % kLists;
    if (step % 50 != 0) continue;
    ASSERT_EQ(all_of(lists, heads[looked_at]), model[looked_at]);
  }
}

// Entries are taken out of one list of all in any order: walking it would be ten thousand million
// steps.
TEST(OverflowLists, ALongListIsTakenApartQuickly) {
  constexpr Entry kCount = 200000;
  const auto begin = std::chrono::steady_clock::now();
  OverflowLists lists(kCount);
  OverflowLists::List list = 0;
  std::vector<Entry> order;
  for (Entry entry = 1; entry <= kCount; ++entry) {
    lists.push(list, entry);
    order.push_back(entry);
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(8));
  for (const Entry entry : order) lists.remove(list, entry);
  EXPECT_EQ(list, 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace lb::engine
