// SPDX-License-Identifier: Apache-2.0
#include "engine/connection_table.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <tuple>
#include <vector>

namespace lb::engine {
namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};
constexpr net::Protocol kTcp = net::Protocol::kTcp;

struct Key {
  net::Protocol protocol = kTcp;
  net::IpAddress client;
  net::Port client_port;
  EndpointId end = 0;
  friend auto operator<=>(const Key&, const Key&) = default;
};

net::IpAddress v4(std::uint32_t host) { return net::IpAddress::v4(net::Be32::from_host(host)); }
net::Port port(std::uint16_t number) { return net::Port::from_host(number); }
Key key(std::uint32_t client, std::uint16_t client_port, EndpointId end) {
  return {.client = v4(client), .client_port = port(client_port), .end = end};
}

void set_key(ConnectionRecord& record, const Key& key, EndpointId real_end) {
  record.protocol = key.protocol;
  record.client = key.client.bytes();
  record.family = key.client.family();
  record.client_port = key.client_port;
  record.virtual_end = key.end;
  record.real_end = real_end;
}

ConnectionId add(ConnectionTable& table, const Key& key, EndpointId real_end, bool by_reply = true,
                 std::uint32_t flags = 0) {
  const ConnectionId id = table.create();
  if (id == 0) return 0;
  set_key(table.at(id), key, real_end);
  table.at(id).flags = flags;
  table.file(id, by_reply);
  return id;
}

ConnectionId find(const ConnectionTable& table, const Key& key, bool want_template = false) {
  return table.find(key.protocol, key.client, key.client_port, key.end, want_template);
}

ConnectionId find_reply(const ConnectionTable& table, const Key& key, EndpointId real_end) {
  return table.find_reply(key.protocol, key.client, key.client_port, real_end);
}

TEST(ConnectionTable, FindsByBothKeysWhatIsFiled) {
  ConnectionTable table(10, kKey);
  const Key k = key(1, 40000, 1);
  const ConnectionId id = table.create();
  ASSERT_NE(id, 0U);
  set_key(table.at(id), k, 2);
  EXPECT_EQ(find(table, k), 0U);
  EXPECT_EQ(table.at(id).committed, 0U);
  table.file(id, true);
  EXPECT_NE(table.at(id).committed, 0U);
  EXPECT_EQ(find(table, k), id);
  EXPECT_EQ(find_reply(table, k, 2), id);
  EXPECT_EQ(find_reply(table, k, 1), 0U);
  EXPECT_EQ(find(table, key(1, 40001, 1)), 0U);
  EXPECT_EQ(find(table, key(2, 40000, 1)), 0U);
  EXPECT_EQ(find(table, key(1, 40000, 2)), 0U);
  table.unfile(id);
  EXPECT_EQ(find(table, k), 0U);
  EXPECT_EQ(find_reply(table, k, 2), 0U);
  EXPECT_TRUE(table.contains(id));
  table.file(id, false);
  EXPECT_EQ(find(table, k), id);
  EXPECT_EQ(find_reply(table, k, 2), 0U);
  table.destroy(id);
  EXPECT_EQ(find(table, k), 0U);
  EXPECT_FALSE(table.contains(id));
  EXPECT_EQ(table.size(), 0U);
}

TEST(ConnectionTable, TellsTemplatesProtocolsAndFamiliesApart) {
  ConnectionTable table(10, kKey);
  const Key plain = key(0x0a000001, 0, 1);
  Key udp = plain;
  udp.protocol = net::Protocol::kUdp;
  Key v6 = plain;
  v6.client = net::IpAddress::v6(plain.client.bytes());
  const ConnectionId as_template = add(table, plain, 2, false, kConnectionTemplate);
  EXPECT_EQ(find(table, plain), 0U);
  const ConnectionId as_connection = add(table, plain, 2);
  const ConnectionId as_udp = add(table, udp, 2);
  const ConnectionId as_v6 = add(table, v6, 2);
  EXPECT_EQ(find(table, plain, true), as_template);
  EXPECT_EQ(find(table, plain), as_connection);
  EXPECT_EQ(find(table, udp), as_udp);
  EXPECT_EQ(find(table, v6), as_v6);
  EXPECT_EQ(find_reply(table, v6, 2), as_v6);
  EXPECT_EQ(find(table, udp, true), 0U);
}

TEST(ConnectionTable, OfEqualReplyKeysTheLastIsFoundAndThenTheOneBefore) {
  ConnectionTable table(10, kKey);
  const ConnectionId first = add(table, key(1, 40000, 1), 9);
  const ConnectionId second = add(table, key(1, 40000, 2), 9);
  const ConnectionId third = add(table, key(1, 40000, 3), 9);
  const Key reply = key(1, 40000, 0);
  EXPECT_EQ(find_reply(table, reply, 9), third);
  table.destroy(second);
  EXPECT_EQ(find_reply(table, reply, 9), third);
  table.destroy(third);
  EXPECT_EQ(find_reply(table, reply, 9), first);
  EXPECT_EQ(find(table, key(1, 40000, 1)), first);
  const ConnectionId fourth = add(table, key(1, 40000, 4), 9);
  EXPECT_EQ(find_reply(table, reply, 9), fourth);
  table.file(first, true);
  EXPECT_EQ(find_reply(table, reply, 9), first);
  table.destroy(first);
  EXPECT_EQ(find_reply(table, reply, 9), fourth);
}

TEST(ConnectionTable, AFullTableRefusesUntilOneGoes) {
  ConnectionTable table(3, kKey);
  EXPECT_EQ(table.capacity(), 3U);
  EXPECT_EQ(table.end(), 1U);
  std::set<ConnectionId> ids;
  for (std::uint32_t i = 0; i < 3; ++i) ids.insert(add(table, key(i, 1, 1), 2));
  EXPECT_EQ(ids, (std::set<ConnectionId>{1, 2, 3}));
  EXPECT_EQ(table.create(), 0U);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.end(), 4U);
  table.at(2).packets_in = 5;
  table.add_controlled(2);
  EXPECT_EQ(table.controlled(2), 1U);
  table.add_controlled(2);
  EXPECT_EQ(table.remove_controlled(2), 1U);
  table.destroy(2);
  EXPECT_EQ(table.size(), 2U);
  const ConnectionId again = table.create();
  EXPECT_EQ(again, 2U);
  EXPECT_EQ(table.at(again).packets_in, 0U);
  EXPECT_EQ(table.controlled(again), 0U);
  EXPECT_EQ(table.at(again).committed, 0U);
  EXPECT_EQ(table.create(), 0U);
}

TEST(ConnectionTable, ANewRecordHasTheValuesOfItsType) {
  ConnectionTable table(1, kKey);
  EXPECT_EQ(table.at(table.create()).family, net::Family::kIpv4);
}

TEST(ConnectionTable, NothingIsContainedThatWasNotCreated) {
  ConnectionTable table(5, kKey);
  for (const ConnectionId id : {0U, 1U, 5U, 6U, 0x7fffffffU, 0xffffffffU}) {
    EXPECT_FALSE(table.contains(id)) << id;
  }
}

TEST(ConnectionTable, NoCapacityIsAFullTable) {
  ConnectionTable table(0, kKey);
  EXPECT_EQ(table.create(), 0U);
  EXPECT_EQ(find(table, key(1, 1, 1)), 0U);
}

// The records are a block of cache lines: nothing else is touched by a hit.
TEST(ConnectionTable, RecordsLieOnCacheLines) {
  ConnectionTable table(100, kKey);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&table.at(table.create())) % 64, 0U);
  }
}

// A client that gives every connection the same reply key must not make their end slow: walking
// the chain would be five thousand million steps here.
TEST(ConnectionTable, AHundredThousandEqualReplyKeysGoQuickly) {
  constexpr std::uint32_t kCount = 100000;
  ConnectionTable table(kCount, kKey);
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 1; i <= kCount; ++i) {
    ASSERT_NE(add(table, key(1, 40000, i), kCount + 1), 0U);
  }
  const Key reply = key(1, 40000, 0);
  for (std::uint32_t i = 1; i <= kCount; ++i) {
    ASSERT_EQ(find_reply(table, reply, kCount + 1), kCount);
    table.destroy(i);
  }
  EXPECT_EQ(find_reply(table, reply, kCount + 1), 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

// As many different keys as fit, so that buckets overflow, and come and go in any order.
TEST(ConnectionTable, AFullTableFindsAllAndForgetsAll) {
  constexpr std::uint32_t kCount = 20000;
  ConnectionTable table(kCount, kKey);
  std::vector<ConnectionId> ids;
  for (std::uint32_t i = 0; i < kCount; ++i) ids.push_back(add(table, key(i, 40000, 1), i % 7 + 2));
  std::mt19937 random(5);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint32_t> order(kCount);
    std::iota(order.begin(), order.end(), 0U);
    std::shuffle(order.begin(), order.end(), random);
    for (const auto i : order) {
      ASSERT_EQ(find(table, key(i, 40000, 1)), ids[i]);
      ASSERT_EQ(find_reply(table, key(i, 40000, 0), i % 7 + 2), ids[i]);
      table.destroy(ids[i]);
      ASSERT_EQ(find(table, key(i, 40000, 1)), 0U);
      ASSERT_EQ(find_reply(table, key(i, 40000, 0), i % 7 + 2), 0U);
    }
    ASSERT_EQ(table.size(), 0U);
    std::shuffle(order.begin(), order.end(), random);
    for (const auto i : order) ids[i] = add(table, key(i, 40000, 1), i % 7 + 2);
  }
}

// The slow, simple table: newest last in lists.
class Model {
 public:
  struct Entry {
    Key key;
    EndpointId real_end;
    bool is_template;
    bool by_reply;
  };
  void file(ConnectionId id, const Entry& entry) {
    unfile(id);
    entries_.emplace_back(id, entry);
  }
  void unfile(ConnectionId id) {
    std::erase_if(entries_, [&](const auto& e) { return e.first == id; });
  }
  [[nodiscard]] ConnectionId find(const Key& key, bool want_template) const {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const auto& e) {
      return e.second.key == key && e.second.is_template == want_template;
    });
    return found == entries_.rend() ? 0 : found->first;
  }
  [[nodiscard]] ConnectionId find_reply(const Key& key, EndpointId real_end) const {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const auto& e) {
      Key reply = e.second.key;
      reply.end = key.end;
      return reply == key && e.second.real_end == real_end && e.second.by_reply;
    });
    return found == entries_.rend() ? 0 : found->first;
  }

 private:
  std::vector<std::pair<ConnectionId, Entry>> entries_;
};

Key some_key(std::mt19937& random) {
  Key k = key(static_cast<std::uint32_t>(random() % 3), static_cast<std::uint16_t>(random() % 2),
              static_cast<EndpointId>(random() % 3));
  if (random() % 3 == 0) k.client = net::IpAddress::v6(k.client.bytes());
  if (random() % 4 == 0) k.protocol = net::Protocol::kUdp;
  return k;
}

// Few different keys in a small table: equal keys, long chains, reuse and a full table are common.
TEST(ConnectionTable, RandomOperationsMatchAList) {
  std::mt19937 random(11);
  for (std::uint64_t round = 0; round < 30; ++round) {
    const auto capacity = static_cast<std::uint32_t>(random() % 40) + 1;
    ConnectionTable table(capacity, {round, round * 3});
    Model model;
    std::set<ConnectionId> in_use;
    const auto any = [&] {
      return *std::next(in_use.begin(), static_cast<std::ptrdiff_t>(random() % in_use.size()));
    };
    for (int i = 0; i < 3000; ++i) {
      switch (in_use.empty() ? 3 : random() % 6) {
        case 0: {
          const ConnectionId id = any();
          table.destroy(id);
          model.unfile(id);
          in_use.erase(id);
          break;
        }
        case 1: {
          const ConnectionId id = any();
          table.unfile(id);
          model.unfile(id);
          break;
        }
        case 2: {
          const ConnectionId id = any();
          table.unfile(id);
          const Model::Entry entry{some_key(random), static_cast<EndpointId>(random() % 2),
                                   random() % 4 == 0, random() % 2 == 0};
          set_key(table.at(id), entry.key, entry.real_end);
          table.at(id).flags = entry.is_template ? kConnectionTemplate : 0U;
          table.file(id, entry.by_reply);
          model.file(id, entry);
          break;
        }
        default: {
          const ConnectionId id = table.create();
          ASSERT_EQ(id == 0, in_use.size() == capacity);
          if (id != 0) {
            ASSERT_TRUE(in_use.insert(id).second);
            ASSERT_LT(id, table.end());
          }
        }
      }
      ASSERT_EQ(table.size(), in_use.size());
      const Key k = some_key(random);
      for (const bool want_template : {false, true}) {
        ASSERT_EQ(find(table, k, want_template), model.find(k, want_template));
      }
      ASSERT_EQ(find_reply(table, k, 1), model.find_reply(k, 1));
    }
    for (ConnectionId id = 0; id <= capacity + 1; ++id) {
      ASSERT_EQ(table.contains(id), in_use.contains(id));
    }
  }
}

RC_GTEST_PROP(ConnectionTable, DifferentConnectionsAreAllFound,
              (const std::set<std::tuple<std::uint32_t, std::uint16_t, std::uint8_t>>& keys,
               HashKey hash_key)) {
  ConnectionTable table(static_cast<std::uint32_t>(keys.size()), hash_key);
  std::map<Key, ConnectionId> ids;
  for (const auto& [client, client_port, end] : keys) {
    const Key k = key(client, client_port, end);
    ids[k] = add(table, k, end + 256U);
  }
  for (const auto& [k, id] : ids) {
    const auto hash = table.hash(k.protocol, k.client, k.client_port);
    table.prefetch_bucket(hash, k.end);
    table.prefetch_record(hash, k.end, false);
    RC_ASSERT(find(table, k) == id);
    RC_ASSERT(find_reply(table, k, k.end + 256U) == id);
    RC_ASSERT(find_reply(table, k, k.end) == 0U);
  }
}

}  // namespace
}  // namespace lb::engine
