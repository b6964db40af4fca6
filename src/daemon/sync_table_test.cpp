// SPDX-License-Identifier: Apache-2.0
// The table protocol: a backup and a master over a network that loses, repeats, reorders, and lets
// somebody else say what he likes.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "daemon/sync_table_client.hpp"
#include "daemon/sync_table_message.hpp"
#include "daemon/sync_table_server.hpp"
#include "net/bytes.hpp"

namespace lb::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Datagram = std::vector<std::byte>;

TableKey key_of(std::string_view text) { return TableKey(std::as_bytes(std::span(text))); }

const net::IpAddress kSource = *net::IpAddress::from_text("192.0.2.1");
constexpr std::string_view kSecret = "a secret of directors";

/// Records 1..size; a part has the numbers of ten of them.
class Source : public TableSource {
 public:
  TableState state() override {
    return {.is_master = is_master, .messages_sent = sent, .source = kSource};
  }
  engine::SyncTablePart part(std::uint32_t cursor, std::span<std::byte> room) override {
    std::size_t used = 0;
    auto id = std::max(cursor, 1U);
    for (; id <= size && used < 40; ++id, used += 4) net::store(room, used, id);
    ++parts;
    return {.size = used, .next = id <= size ? id : 0};
  }
  bool is_master = true;
  std::uint64_t sent = 0;
  std::uint32_t size = 1000;
  unsigned parts = 0;
};

class Sink : public TableSink {
 public:
  bool is_backup() override { return is_running; }
  void take(std::span<const std::byte> message) override {
    for (std::size_t at = 0; at < message.size(); at += 4) {
      taken.push_back(net::load<std::uint32_t>(message, at));
    }
  }
  std::uint64_t received_from(const net::IpAddress& source) override {
    return source == kSource ? received : 0;
  }
  bool is_running = true;
  std::uint64_t received = 0;
  std::vector<std::uint32_t> taken;
};

class SyncTable : public testing::Test {
 protected:
  TableNonce nonce() {
    TableNonce made{};
    made[0] = ++nonces_;
    made[1] = 1;
    return made;
  }
  void make_server(std::uint64_t instance = 2) {
    server_.emplace(
        instance, key_, source_,
        [this](std::span<const std::byte> bytes) { put(to_client_, bytes); },
        [this] { return nonce(); });
  }
  SyncTable() { make_server(); }

  void put(std::deque<Datagram>& queue, std::span<const std::byte> bytes) {
    all_.emplace_back(bytes.begin(), bytes.end());
    if (static_cast<int>(random_() % 100) < loss_) return;
    queue.emplace_back(bytes.begin(), bytes.end());
    if (is_doubling_) queue.push_back(queue.back());
    if (is_reordering_ && queue.size() > 1) std::swap(queue.back(), queue.front());
  }
  bool to_server(std::span<const std::byte> bytes) {
    const auto message = read_table_message(bytes, key_);
    return message && server_->receive(*message);
  }
  bool to_client(std::span<const std::byte> bytes) {
    const auto message = read_table_message(bytes, key_);
    return message && client_.receive(*message, now_);
  }
  void deliver() {
    while (!to_server_.empty() || !to_client_.empty()) {
      for (auto* queue : {&to_server_, &to_client_}) {
        if (queue->empty()) continue;
        const auto datagram = queue->front();
        queue->pop_front();
        (void)(queue == &to_server_ ? to_server(datagram) : to_client(datagram));
      }
    }
  }
  void pass(Duration duration) {
    for (const auto end = now_ + duration; now_ < end; now_ = now_ + milliseconds(100)) {
      client_.tick(now_);
      deliver();
    }
  }
  [[nodiscard]] std::vector<std::uint32_t> numbers() const {
    std::vector<std::uint32_t> all(source_.size);
    for (std::uint32_t i = 0; i < source_.size; ++i) all[i] = i + 1;
    return all;
  }

  TableKey key_ = key_of(kSecret);
  Source source_;
  Sink sink_;
  std::uint8_t nonces_ = 0;
  std::deque<Datagram> to_server_;
  std::deque<Datagram> to_client_;
  std::vector<Datagram> all_;
  int loss_ = 0;  // of a hundred
  std::minstd_rand random_{1};
  bool is_doubling_ = false;
  bool is_reordering_ = false;
  Timestamp now_{seconds(100)};
  std::optional<SyncTableServer> server_;
  SyncTableClient client_{1, key_, sink_,
                          [this](std::span<const std::byte> bytes) { put(to_server_, bytes); },
                          [this] { return nonce(); }};
};

TEST(SyncTableMessage, TheTagIsHmacSha256) {
  // RFC 4231, test case 2.
  const auto tag = key_of("Jefe").tag(
      std::as_bytes(std::span(std::string_view("what do ya want for nothing?"))));
  const std::array<std::uint8_t, kTableTag> expected{
      0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
      0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
      0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
  EXPECT_EQ(tag, expected);
}

TEST(SyncTableMessage, WhatIsWrittenIsRead) {
  const auto key = key_of(kSecret);
  const Datagram payload(kTablePayload, std::byte{7});
  const auto bytes = write_table_message({.type = TableMessageType::kPart,
                                          .instance = 0x0102030405060708,
                                          .client = {1, 2, 3},
                                          .server = {4, 5, 6},
                                          .number = 1ULL << 40,
                                          .first = 9,
                                          .second = 10,
                                          .payload = payload},
                                         key);
  ASSERT_EQ(bytes.size(), kTableMessage);
  const auto read = read_table_message(bytes, key);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, TableMessageType::kPart);
  EXPECT_EQ(read->instance, 0x0102030405060708U);
  EXPECT_EQ(read->client, (TableNonce{1, 2, 3}));
  EXPECT_EQ(read->server, (TableNonce{4, 5, 6}));
  EXPECT_EQ(read->number, 1ULL << 40);
  EXPECT_EQ(read->first, 9U);
  EXPECT_EQ(read->second, 10U);
  EXPECT_TRUE(
      std::equal(read->payload.begin(), read->payload.end(), payload.begin(), payload.end()));
  EXPECT_FALSE(read_table_message(bytes, key_of("another secret of theirs")));
}

// A bit that is changed anywhere, and a byte that is missing or too many, make it none.
TEST(SyncTableMessage, NothingThatIsChangedIsRead) {
  const auto key = key_of(kSecret);
  const auto state = write_table_state({.is_master = true, .messages_sent = 3, .source = kSource});
  const auto bytes = write_table_message({.type = TableMessageType::kState, .payload = state}, key);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto changed = bytes;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(read_table_message(changed, key)) << bit;
  }
  auto longer = bytes;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(read_table_message(std::span(bytes).first(size), key)) << size;
  }
  longer.push_back(std::byte{0});
  EXPECT_FALSE(read_table_message(longer, key));
}

RC_GTEST_PROP(SyncTableMessage, AnyBytesAreRead, (const std::vector<std::uint8_t>& noise)) {
  const auto key = key_of(kSecret);
  const auto bytes = std::as_bytes(std::span(noise));
  RC_ASSERT(!read_table_message(bytes, key).has_value());
  (void)read_table_state(bytes);
}

TEST_F(SyncTable, ABackupGetsTheTable) {
  pass(milliseconds(300));
  EXPECT_EQ(sink_.taken, numbers());
  EXPECT_EQ(client_.tables(), 1U);
  EXPECT_TRUE(client_.is_heard());
  EXPECT_EQ(client_.lag(now_), Duration{0});
  pass(seconds(30));
  EXPECT_EQ(client_.tables(), 1U) << "nothing was missed since";
}

TEST_F(SyncTable, AnEmptyTableIsOneToo) {
  source_.size = 0;
  pass(milliseconds(300));
  EXPECT_EQ(client_.tables(), 1U);
}

TEST_F(SyncTable, ItComesOverABadNetworkToo) {
  for (const int loss : {2, 5, 10, 30}) {
    loss_ = loss;
    is_doubling_ = loss == 2;
    is_reordering_ = loss == 10;
    sink_.is_running = false;
    pass(milliseconds(100));
    sink_.is_running = true;
    sink_.taken.clear();
    const auto before = client_.tables();
    for (int i = 0; i < 600 && client_.tables() == before; ++i) pass(milliseconds(100));
    ASSERT_GT(client_.tables(), before) << loss;
    // Nothing is left out; in order and once unless the peer seemed gone meanwhile.
    const auto all = numbers();
    ASSERT_EQ(std::set<std::uint32_t>(sink_.taken.begin(), sink_.taken.end()),
              std::set<std::uint32_t>(all.begin(), all.end()))
        << loss;
    if (loss <= 5) {
      ASSERT_EQ(sink_.taken, all) << loss;
    }
  }
}

TEST_F(SyncTable, WithoutABackupNobodyAsks) {
  sink_.is_running = false;
  pass(seconds(5));
  EXPECT_TRUE(all_.empty());
}

TEST_F(SyncTable, AMasterThatStartsLaterIsAskedThen) {
  source_.is_master = false;
  pass(seconds(5));
  EXPECT_TRUE(client_.is_heard());
  EXPECT_EQ(client_.tables(), 0U);
  EXPECT_EQ(client_.lag(now_), Duration{0});
  source_.is_master = true;
  pass(seconds(2));
  EXPECT_EQ(client_.tables(), 1U);
}

TEST_F(SyncTable, MessagesThatDoNotComeMakeALagAndThenATable) {
  pass(seconds(20));
  source_.sent = sink_.received = 100;
  pass(seconds(3));
  EXPECT_EQ(client_.tables(), 1U);
  EXPECT_EQ(client_.lag(now_), Duration{0});
  source_.sent = 105;
  sink_.received = 102;
  pass(seconds(3));
  EXPECT_EQ(client_.missed(), 3U);
  EXPECT_EQ(client_.tables(), 2U);
  EXPECT_EQ(client_.lag(now_), Duration{0});
  // Again at once: not before ten seconds are over, and the lag grows meanwhile.
  source_.sent = 110;
  pass(seconds(5));
  EXPECT_EQ(client_.tables(), 2U);
  EXPECT_GT(client_.lag(now_), seconds(3));
  pass(seconds(8));
  EXPECT_EQ(client_.tables(), 3U);
  EXPECT_EQ(client_.missed(), 8U);
  EXPECT_EQ(client_.lag(now_), Duration{0});
}

TEST_F(SyncTable, MessagesThatAreOnlyLateAreNotMissed) {
  pass(seconds(20));
  for (int i = 0; i < 20; ++i) {
    source_.sent += 10;
    pass(milliseconds(500));
    sink_.received += 10;
    pass(milliseconds(500));
  }
  EXPECT_EQ(client_.missed(), 0U);
  EXPECT_EQ(client_.tables(), 1U);
}

TEST_F(SyncTable, AMasterThatWasRestartedIsAskedAgain) {
  source_.sent = 1000;
  pass(seconds(2));
  source_.sent = 0;
  source_.size = 5;
  sink_.taken.clear();
  make_server(3);
  pass(seconds(5));
  EXPECT_EQ(client_.tables(), 2U);
  EXPECT_EQ(sink_.taken, numbers());
}

TEST_F(SyncTable, APeerThatFallsSilentIsNotHeard) {
  pass(seconds(2));
  loss_ = 100;
  pass(seconds(5));
  EXPECT_FALSE(client_.is_heard());
  EXPECT_EQ(client_.lag(now_), Duration{0});
}

// What was sent once is taken by nobody again: neither in the conversation it was of, nor after.
TEST_F(SyncTable, NothingIsTakenTwice) {
  pass(seconds(3));
  const auto recorded = all_;
  const auto taken = sink_.taken;
  const auto parts = source_.parts;
  const auto replay = [&] {
    for (const auto& datagram : recorded) {
      const auto message = read_table_message(datagram, key_);
      ASSERT_TRUE(message);
      // A greeting is answered by another: that is all that it does.
      const bool is_hello = message->type == TableMessageType::kHello;
      EXPECT_EQ(to_server(datagram), is_hello);
      EXPECT_FALSE(to_client(datagram));
    }
  };
  replay();
  EXPECT_EQ(source_.parts, parts);
  EXPECT_EQ(sink_.taken, taken);
  to_client_.clear();
  // The conversation was not disturbed.
  pass(seconds(10));
  EXPECT_TRUE(client_.is_heard());
  EXPECT_EQ(client_.tables(), 1U);
  // Nor is a later one, of a backup that begins anew.
  sink_.is_running = false;
  pass(milliseconds(100));
  sink_.is_running = true;
  client_.tick(now_);
  const auto fresh = to_server_;
  replay();
  to_client_.clear();
  to_server_ = fresh;
  pass(seconds(3));
  EXPECT_EQ(client_.tables(), 2U);
  replay();
  EXPECT_EQ(client_.tables(), 2U);
}

TEST_F(SyncTable, NobodyTakesHisOwnMessages) {
  client_.tick(now_);
  ASSERT_EQ(to_server_.size(), 1U);
  make_server(1);  // the same process
  EXPECT_FALSE(to_server(to_server_.front()));
  EXPECT_TRUE(to_client_.empty());
}

// Authentic messages with any contents, in any order: no more than what the protocol has.
RC_GTEST_FIXTURE_PROP(SyncTable, AnyMessagesOfADirectorAreBorne, ()) {
  const auto steps = *rc::gen::inRange(1, 200);
  for (int i = 0; i < steps; ++i) {
    const Datagram payload(*rc::gen::element<std::size_t>(0, 1, kTableStateSize, 100),
                           std::byte{*rc::gen::element<std::uint8_t>(0, 1, 255)});
    TableMessage message{.type = static_cast<TableMessageType>(*rc::gen::inRange(1, 6)),
                         .instance = *rc::gen::inRange<std::uint64_t>(1, 4),
                         .client = {static_cast<std::uint8_t>(*rc::gen::inRange(0, 4)), 1},
                         .server = {static_cast<std::uint8_t>(*rc::gen::inRange(0, 4)), 1},
                         .number = *rc::gen::inRange<std::uint64_t>(0, 4),
                         .first = *rc::gen::element<std::uint32_t>(0, 1, 11, 1001, 0xffffffff),
                         .second = *rc::gen::element<std::uint32_t>(0, 1, 32, 11, 0xffffffff),
                         .payload = payload};
    const auto bytes = write_table_message(message, key_);
    const auto before = all_.size();
    (void)to_server(bytes);
    RC_ASSERT(all_.size() <= before + SyncTableServer::kMostParts);
    (void)to_client(bytes);
    if (*rc::gen::inRange(0, 3) == 0) pass(milliseconds(*rc::gen::inRange(100, 2000)));
    to_client_.clear();
    to_server_.clear();
  }
  // And then it works as ever.
  sink_.is_running = false;
  pass(milliseconds(100));
  sink_.is_running = true;
  sink_.taken.clear();
  pass(seconds(5));
  RC_ASSERT(sink_.taken == numbers());
}

}  // namespace
}  // namespace lb::daemon
