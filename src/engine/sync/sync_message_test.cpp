// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_message.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "engine/sync/sync_queue.hpp"
#include "net/bytes.hpp"

namespace lb::engine {
namespace {

using Bytes = std::vector<std::byte>;
using Step = SyncMessageReader::Step;

constexpr Timestamp kStart{std::chrono::hours(1)};

net::Endpoint end(bool is_v6) {
  const auto address =
      is_v6 ? *rc::gen::arbitrary<std::array<std::uint8_t, 16>>() : std::array<std::uint8_t, 16>{};
  const auto word = net::Be32::from_network(*rc::gen::arbitrary<std::uint32_t>());
  return {is_v6 ? net::IpAddress::v6(address) : net::IpAddress::v4(word),
          net::Port::from_network(*rc::gen::arbitrary<std::uint16_t>())};
}

struct Texts {
  std::string key_data;
  std::string engine_name;
};

SyncEntry any_entry(int version, const Texts& texts) {
  const bool is_v6 = version != 0 && *rc::gen::arbitrary<bool>();
  SyncEntry entry;
  entry.protocol = static_cast<net::Protocol>(*rc::gen::inRange(0, 255));
  entry.flags = *rc::gen::arbitrary<std::uint16_t>();
  entry.flags &= ~std::uint32_t{kSyncAnswersShifted | kSyncRequestsShifted};
  entry.state = *rc::gen::arbitrary<std::uint16_t>();
  entry.client = end(is_v6);
  entry.virtual_end = end(is_v6);
  entry.real_end = end(is_v6);
  if (*rc::gen::arbitrary<bool>()) {
    entry.flags |= kSyncAnswersShifted;
    entry.answers_shift =
        SequenceShift{*rc::gen::arbitrary<std::uint32_t>(), *rc::gen::arbitrary<std::int32_t>(),
                      *rc::gen::arbitrary<std::int32_t>()};
  }
  if (version == 0) return entry;
  entry.fwmark = *rc::gen::arbitrary<std::uint32_t>();
  entry.timeout_s = *rc::gen::arbitrary<std::uint32_t>();
  entry.key_data = texts.key_data;
  entry.engine_name = texts.key_data.empty() ? std::string_view{} : texts.engine_name;
  return entry;
}

void expect_same(const SyncEntry& got, const SyncEntry& wanted) {
  RC_ASSERT(got.protocol == wanted.protocol);
  RC_ASSERT(got.flags == wanted.flags);
  RC_ASSERT(got.state == wanted.state);
  RC_ASSERT(got.client == wanted.client);
  RC_ASSERT(got.virtual_end == wanted.virtual_end);
  RC_ASSERT(got.real_end == wanted.real_end);
  RC_ASSERT(got.fwmark == wanted.fwmark);
  RC_ASSERT(got.timeout_s == wanted.timeout_s);
  RC_ASSERT(got.answers_shift.has_value() == wanted.answers_shift.has_value());
  if (wanted.answers_shift) {
    RC_ASSERT(got.answers_shift->position == wanted.answers_shift->position);
    RC_ASSERT(got.answers_shift->before == wanted.answers_shift->before);
    RC_ASSERT(got.answers_shift->after == wanted.answers_shift->after);
  }
  RC_ASSERT(got.key_data == wanted.key_data);
  RC_ASSERT(got.engine_name == wanted.engine_name);
}

// One message with these entries.
Bytes message_of(const std::vector<SyncEntry>& entries, int version) {
  SyncQueue queue(9000, 7);
  for (const auto& entry : entries) EXPECT_FALSE(queue.append(entry, version, 8, kStart));
  const auto due = queue.take_due(kStart + SyncQueue::kFlushAge);
  return due ? Bytes(due->begin(), due->end()) : Bytes();
}

std::string text_of(std::size_t smallest, std::size_t largest) {
  const auto size = *rc::gen::inRange(smallest, largest + 1);
  return *rc::gen::container<std::string>(size, rc::gen::arbitrary<char>());
}

RC_GTEST_PROP(SyncMessage, WhatIsWrittenIsRead, ()) {
  const int version = *rc::gen::inRange(0, 2);
  const auto count = *rc::gen::inRange<std::size_t>(1, 10);
  std::vector<Texts> texts;
  std::vector<SyncEntry> entries;
  for (std::size_t i = 0; i < count; ++i) {
    texts.push_back({text_of(0, kMaxSyncKeyData), text_of(1, kMaxSyncEngineName)});
  }
  for (std::size_t i = 0; i < count; ++i) entries.push_back(any_entry(version, texts[i]));
  const auto message = message_of(entries, version);
  SyncMessageReader reader(message);
  RC_ASSERT(reader.is_message());
  RC_ASSERT(reader.version() == version);
  RC_ASSERT(reader.sync_id() == 7);
  SyncEntry entry;
  for (const auto& wanted : entries) {
    RC_ASSERT(reader.next(entry) == Step::kEntry);
    expect_same(entry, wanted);
  }
  RC_ASSERT(reader.next(entry) == Step::kEnd);
}

// Reads all of it; every text must lie inside the message.
std::size_t steps_through(const Bytes& message) {
  SyncMessageReader reader(message);
  SyncEntry entry;
  std::size_t steps = 0;
  for (auto step = reader.next(entry); step != Step::kEnd; step = reader.next(entry)) {
    ++steps;
    if (step == Step::kBroken) break;
    for (const auto text : {entry.key_data, entry.engine_name}) {
      const auto whole = net::as_text(message);
      RC_ASSERT(text.empty() || (text.data() >= whole.data() &&
                                 text.data() + text.size() <= whole.data() + whole.size()));
    }
  }
  return steps;
}

RC_GTEST_PROP(SyncMessage, AnyBytesAreRead, (std::vector<std::uint8_t> values)) {
  Bytes message;
  for (const auto value : values) message.push_back(std::byte{value});
  if (message.size() >= 4) {
    net::store(std::span(message), 2,
               net::Be16::from_host(static_cast<std::uint16_t>(message.size())));
  }
  RC_ASSERT(steps_through(message) <= 256U);
}

RC_GTEST_PROP(SyncMessage, SpoiltMessagesAreRead, ()) {
  const Texts texts{text_of(0, 40), "sip"};
  const int version = *rc::gen::inRange(0, 2);
  auto message = message_of({any_entry(version, texts), any_entry(version, texts)}, version);
  const auto changes = *rc::gen::inRange(1, 6);
  for (int i = 0; i < changes; ++i) {
    message[*rc::gen::inRange<std::size_t>(0, message.size())] =
        static_cast<std::byte>(*rc::gen::inRange(0, 256));
  }
  message.resize(*rc::gen::inRange<std::size_t>(0, message.size() + 1));
  if (message.size() >= 4 && *rc::gen::arbitrary<bool>()) {
    net::store(std::span(message), 2,
               net::Be16::from_host(static_cast<std::uint16_t>(message.size())));
  }
  RC_ASSERT(steps_through(message) <= 256U);
}

// Header, one entry of 36 bytes, options.
Bytes with_options(std::initializer_list<unsigned> options) {
  auto message = message_of({SyncEntry{}}, 1);
  for (const auto value : options) message.push_back(static_cast<std::byte>(value));
  const auto size = static_cast<std::uint16_t>(message.size());
  net::store(std::span(message), 2, net::Be16::from_host(size));
  net::store(std::span(message), kSyncHeaderV1 + 2,
             net::Be16::from_host(static_cast<std::uint16_t>(size - kSyncHeaderV1)));
  return message;
}

Step first_step(const Bytes& message) {
  SyncMessageReader reader(message);
  SyncEntry entry;
  return reader.next(entry);
}

TEST(SyncMessage, Options) {
  EXPECT_EQ(first_step(with_options({})), Step::kEntry);
  EXPECT_EQ(first_step(with_options({0x42, 1, 'a', 0x43, 3, 's', 'i', 'p'})), Step::kEntry);
  EXPECT_EQ(first_step(with_options({9, 1, 0})), Step::kSkipped);   // unknown, must be known
  EXPECT_EQ(first_step(with_options({0x49, 1, 0})), Step::kEntry);  // unknown, may be ignored
  EXPECT_EQ(first_step(with_options({2})), Step::kBroken);
  EXPECT_EQ(first_step(with_options({2, 0})), Step::kBroken);
  EXPECT_EQ(first_step(with_options({2, 3, 'a', 'b'})), Step::kBroken);
  EXPECT_EQ(first_step(with_options({2, 1, 'a', 2, 1, 'a'})), Step::kBroken);
  EXPECT_EQ(first_step(with_options({1, 1, 0})), Step::kBroken);
  EXPECT_EQ(first_step(with_options({3, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
            Step::kBroken);
}

}  // namespace
}  // namespace lb::engine
