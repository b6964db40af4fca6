// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_queue.hpp"

#include <gtest/gtest.h>

#include "net/bytes.hpp"

namespace lb::engine {
namespace {

using std::chrono::milliseconds;

constexpr Timestamp kStart{std::chrono::hours(1)};
constexpr std::size_t kEntry = 36;
constexpr std::size_t kLimit = 100;

unsigned entries_in(std::span<const std::byte> message) {
  return net::load<std::uint8_t>(message, 4);
}

TEST(SyncQueue, AMessageLeavesWhenItIsTwoSecondsOld) {
  SyncQueue queue(1472, 1);
  EXPECT_FALSE(queue.append({}, 1, kLimit, kStart));
  EXPECT_FALSE(queue.append({}, 1, kLimit, kStart + milliseconds(1500)));
  EXPECT_FALSE(queue.take_due(kStart + milliseconds(1999)));
  const auto message = queue.take_due(kStart + milliseconds(2000));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->size(), kSyncHeaderV1 + 2 * kEntry);
  EXPECT_EQ(entries_in(*message), 2U);
  EXPECT_FALSE(queue.take_due(kStart + milliseconds(9000)));
}

TEST(SyncQueue, AFullMessageWaitsALittleForOthers) {
  SyncQueue queue(kSyncHeaderV1 + 2 * kEntry, 1);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(queue.append({}, 1, kLimit, kStart));
  EXPECT_FALSE(queue.take_due(kStart + milliseconds(19)));
  EXPECT_TRUE(queue.take_due(kStart + milliseconds(20)));
  EXPECT_FALSE(queue.take_due(kStart + milliseconds(20)));
  const auto rest = queue.take_due(kStart + milliseconds(2000));
  ASSERT_TRUE(rest);
  EXPECT_EQ(entries_in(*rest), 1U);
}

TEST(SyncQueue, EightFullMessagesDoNotWait) {
  SyncQueue queue(kSyncHeaderV1 + kEntry, 1);
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(queue.append({}, 1, kLimit, kStart));
  EXPECT_FALSE(queue.take_due(kStart));
  EXPECT_FALSE(queue.append({}, 1, kLimit, kStart));
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(queue.take_due(kStart));
  EXPECT_FALSE(queue.take_due(kStart));
}

TEST(SyncQueue, WhatIsBeyondTheLimitIsLost) {
  SyncQueue queue(kSyncHeaderV1 + kEntry, 1);
  EXPECT_FALSE(queue.append({}, 1, 1, kStart));
  EXPECT_FALSE(queue.append({}, 1, 1, kStart));
  EXPECT_TRUE(queue.append({}, 1, 1, kStart));
  EXPECT_TRUE(queue.append({}, 1, 0, kStart));
  EXPECT_TRUE(queue.take_due(kStart + milliseconds(20)));
  EXPECT_FALSE(queue.take_due(kStart + milliseconds(20)));
}

TEST(SyncQueue, NobodyTakesAndNothingBreaks) {
  SyncQueue queue(kSyncHeaderV1 + kEntry, 1);
  int lost = 0;
  for (int i = 0; i < 1000; ++i) lost += queue.append({}, 1, kLimit, kStart) ? 1 : 0;
  EXPECT_EQ(lost, 1000 - 1 - static_cast<int>(SyncQueue::kBatch));
}

TEST(SyncQueue, AnEntryLargerThanAMessageGoesAlone) {
  const std::string data(kMaxSyncKeyData, 'x');
  const std::string name(kMaxSyncEngineName, 'n');
  const net::Endpoint v6{net::IpAddress::any(net::Family::kIpv6), {}};
  const SyncEntry large{.client = v6,
                        .virtual_end = v6,
                        .real_end = v6,
                        .answers_shift = SequenceShift{},
                        .key_data = data,
                        .engine_name = name};
  EXPECT_EQ(sync_entry_size(large, 1), kMaxSyncEntry);
  SyncQueue queue(1, 1);
  EXPECT_FALSE(queue.append(large, 1, kLimit, kStart));
  EXPECT_FALSE(queue.append(large, 1, kLimit, kStart));
  const auto message = queue.take_due(kStart + milliseconds(20));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->size(), kSyncHeaderV1 + kMaxSyncEntry);
}

TEST(SyncQueue, AMessageHasOneVersionAndAtMost255Entries) {
  SyncQueue queue(65507, 1);
  EXPECT_FALSE(queue.append({}, 0, kLimit, kStart));
  for (int i = 0; i < 256; ++i) EXPECT_FALSE(queue.append({}, 1, kLimit, kStart));
  const auto later = kStart + milliseconds(20);
  EXPECT_EQ(queue.take_due(later)->size(), kSyncHeaderV0 + 24);
  EXPECT_EQ(entries_in(*queue.take_due(later)), 255U);
  EXPECT_EQ(entries_in(*queue.take_due(kStart + milliseconds(2000))), 1U);
}

}  // namespace
}  // namespace lb::engine
