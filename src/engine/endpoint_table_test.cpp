// SPDX-License-Identifier: Apache-2.0
#include "engine/endpoint_table.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <span>
#include <tuple>
#include <vector>

namespace lb::engine {
namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

net::IpAddress address(const char* text) { return net::IpAddress::from_text(text).value(); }
net::IpAddress v4(std::uint32_t host) { return net::IpAddress::v4(net::Be32::from_host(host)); }
net::Port port(std::uint16_t number) { return net::Port::from_host(number); }

TEST(EndpointTable, CountsReferences) {
  EndpointTable table(10, kKey);
  const auto vip = address("192.0.2.10");
  EXPECT_EQ(table.find(net::Protocol::kTcp, vip, port(80)), 0U);
  const EndpointId id = table.acquire(net::Protocol::kTcp, vip, port(80));
  EXPECT_EQ(id, 1U);
  EXPECT_EQ(table.acquire(net::Protocol::kTcp, vip, port(80)), id);
  table.retain(id);
  EXPECT_EQ(table.at(id).references, 3U);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_FALSE(table.release(id));
  EXPECT_FALSE(table.release(id));
  EXPECT_EQ(table.find(net::Protocol::kTcp, vip, port(80)), id);
  EXPECT_TRUE(table.release(id));
  EXPECT_EQ(table.find(net::Protocol::kTcp, vip, port(80)), 0U);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.at(id).address, vip);
  EXPECT_EQ(table.at(id).port, port(80));
}

// Memory that comes in pieces of ten thousand entries, up to a most; entries beyond have none.
class Pieces : public EndpointRoom {
 public:
  explicit Pieces(std::size_t most) : most_(most), memory_(most) {}
  [[nodiscard]] std::size_t entries() const noexcept override { return entries_; }
  bool extend() noexcept override {
    ++asked_;
    if (!has_more_ || entries_ == most_) return false;
    entries_ = std::min(entries_ + 10000, most_);
    return true;
  }
  std::span<EndpointTable::Entry> all() { return memory_; }
  void set_more(bool has_more) { has_more_ = has_more; }
  [[nodiscard]] int asked() const { return asked_; }
  /// True if nothing was written where there is no memory.
  [[nodiscard]] bool is_rest_untouched() const {
    return std::all_of(memory_.begin() + static_cast<std::ptrdiff_t>(entries_), memory_.end(),
                       [](const auto& entry) { return entry.references == 0; });
  }

 private:
  std::size_t most_;
  std::vector<EndpointTable::Entry> memory_;
  std::size_t entries_ = 40000;
  bool has_more_ = true;
  int asked_ = 0;
};

TEST(EndpointTable, MemoryIsAddedBeforeNumbersRunShort) {
  constexpr std::uint32_t kMost = 65000;
  Pieces pieces(kMost + 1);
  EndpointTable table(kMost, kKey, pieces.all(), &pieces);
  EXPECT_EQ(table.capacity(), kMost);
  std::uint32_t count = 0;
  const auto add = [&] { return table.acquire(net::Protocol::kTcp, v4(++count), port(80)); };
  while (39999 - count > EndpointTable::kSpare) ASSERT_NE(add(), 0U);
  EXPECT_EQ(pieces.asked(), 0);
  EXPECT_TRUE(table.make_room());
  EXPECT_EQ(pieces.asked(), 1);
  EXPECT_TRUE(table.make_room());
  EXPECT_EQ(pieces.asked(), 1) << "there is enough again";
  while (count < 49999) ASSERT_EQ(add(), count);
  EXPECT_TRUE(pieces.is_rest_untouched());

  // Nobody adds any: what has no memory is refused, and what was given back is used.
  EXPECT_EQ(add(), 0U);
  EXPECT_EQ(add(), 0U);
  EXPECT_TRUE(table.release(7));
  EXPECT_EQ(add(), 7U);
  EXPECT_EQ(add(), 0U);

  pieces.set_more(false);
  EXPECT_FALSE(table.make_room());
  EXPECT_EQ(add(), 0U);
  pieces.set_more(true);
  EXPECT_TRUE(table.make_room());
  EXPECT_TRUE(table.make_room());
  while (table.size() < kMost) ASSERT_NE(add(), 0U);
  EXPECT_EQ(add(), 0U);
  EXPECT_TRUE(table.make_room());
}

// As many as there are at a time, not as many as there ever were.
TEST(EndpointTable, NumbersThatWereGivenBackNeedNoMoreMemory) {
  constexpr std::uint32_t kMost = 60000;
  Pieces pieces(kMost + 1);
  EndpointTable table(kMost, kKey, pieces.all(), &pieces);
  for (std::uint32_t i = 1; i <= 200000; ++i) {
    const EndpointId id = table.acquire(net::Protocol::kTcp, v4(i), port(80));
    ASSERT_NE(id, 0U);
    ASSERT_TRUE(table.release(id));
    ASSERT_TRUE(table.make_room());
  }
  EXPECT_EQ(pieces.asked(), 0);
}

TEST(EndpointTable, OnlyWhatHasMemoryIsAdopted) {
  constexpr std::uint32_t kMost = 60000;
  Pieces pieces(kMost + 1);
  pieces.all()[5] = {
      .address = v4(5), .port = port(80), .protocol = net::Protocol::kTcp, .references = 1};
  EndpointTable table(kMost, kKey, pieces.all(), &pieces);
  table.begin_adoption();
  EXPECT_TRUE(table.can_adopt(5));
  EXPECT_TRUE(table.can_adopt(39999));
  EXPECT_FALSE(table.can_adopt(40000));
  table.adopt(5);
  table.end_adoption();
  EXPECT_EQ(table.find(net::Protocol::kTcp, v4(5), port(80)), 5U);
  EXPECT_EQ(table.end(), 6U);
}

TEST(EndpointTable, TellsProtocolPortAndFamilyApart) {
  EndpointTable table(10, kKey);
  const auto vip = address("10.0.0.1");
  const auto same_bytes = address("a00:1::");
  ASSERT_EQ(vip.bytes(), same_bytes.bytes());
  const std::set<EndpointId> ids{table.acquire(net::Protocol::kTcp, vip, port(80)),
                                 table.acquire(net::Protocol::kUdp, vip, port(80)),
                                 table.acquire(net::Protocol::kTcp, vip, port(0)),
                                 table.acquire(net::Protocol::kTcp, same_bytes, port(80)),
                                 table.acquire(net::Protocol::kTcp, address("10.0.0.2"), port(80))};
  EXPECT_EQ(ids, (std::set<EndpointId>{1, 2, 3, 4, 5}));
}

// Slots keep half of the hash; an equal half must not be taken for an equal endpoint.
TEST(EndpointTable, TellsApartWhatHashesAlike) {
  std::map<std::uint32_t, std::uint32_t> seen;
  int pairs = 0;
  for (std::uint32_t i = 0; i < 300000; ++i) {
    const auto hash = static_cast<std::uint32_t>(
        hash_endpoint(kKey, net::Family::kIpv4, v4(i).bytes(), port(80), net::Protocol::kTcp));
    const auto [twin, is_new] = seen.emplace(hash, i);
    if (is_new) continue;
    ++pairs;
    EndpointTable table(10, kKey);
    const EndpointId first = table.acquire(net::Protocol::kTcp, v4(i), port(80));
    EXPECT_EQ(table.find(net::Protocol::kTcp, v4(twin->second), port(80)), 0U);
    const EndpointId second = table.acquire(net::Protocol::kTcp, v4(twin->second), port(80));
    EXPECT_NE(first, second);
    table.release(first);
    EXPECT_EQ(table.find(net::Protocol::kTcp, v4(twin->second), port(80)), second);
  }
  EXPECT_GT(pairs, 0) << "choose more endpoints";
}

TEST(EndpointTable, FullTableRefusesOnlyNewOnes) {
  EndpointTable table(3, kKey);
  for (std::uint32_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(table.acquire(net::Protocol::kTcp, v4(i), port(1)), i);
  }
  EXPECT_EQ(table.acquire(net::Protocol::kTcp, v4(4), port(1)), 0U);
  EXPECT_EQ(table.acquire(net::Protocol::kTcp, v4(2), port(1)), 2U);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_TRUE(table.release(3));
  EXPECT_EQ(table.acquire(net::Protocol::kTcp, v4(4), port(1)), 3U);
}

TEST(EndpointTable, AFreedNumberIsUsedLast) {
  EndpointTable table(4, kKey);
  const auto acquire = [&](std::uint32_t i) {
    return table.acquire(net::Protocol::kTcp, v4(i), port(1));
  };
  EXPECT_EQ(acquire(1), 1U);
  EXPECT_EQ(acquire(2), 2U);
  table.release(2);
  table.release(1);
  EXPECT_EQ(acquire(3), 3U);
  EXPECT_EQ(acquire(4), 4U);
  EXPECT_EQ(acquire(5), 2U);
  EXPECT_EQ(acquire(6), 1U);
  EXPECT_EQ(acquire(7), 0U);
}

TEST(EndpointTable, NoCapacityIsAFullTable) {
  EndpointTable table(0, kKey);
  EXPECT_EQ(table.capacity(), 0U);
  EXPECT_EQ(table.acquire(net::Protocol::kTcp, v4(1), port(1)), 0U);
  EXPECT_EQ(table.find(net::Protocol::kTcp, v4(1), port(1)), 0U);
}

using Key = std::tuple<net::Protocol, net::IpAddress, net::Port>;

Key some_key(std::uint32_t number) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[0] = static_cast<std::uint8_t>(number / 7);
  return {number % 2 == 0 ? net::Protocol::kTcp : net::Protocol::kUdp,
          number % 3 == 0 ? net::IpAddress::v6(bytes) : v4(number / 7),
          port(static_cast<std::uint16_t>(number % 5))};
}

// A small table that is often full, so that probing runs long and wraps around.
TEST(EndpointTable, RandomOperationsMatchAMap) {
  std::mt19937 random(7);
  for (std::uint64_t round = 0; round < 20; ++round) {
    const auto capacity = static_cast<std::uint32_t>(random() % 40) + 1;
    EndpointTable table(capacity, {round, ~round});
    std::map<Key, std::pair<EndpointId, std::uint32_t>> model;
    for (int i = 0; i < 5000; ++i) {
      const Key key = some_key(static_cast<std::uint32_t>(random() % 80));
      const auto& [protocol, address, port] = key;
      const auto found = model.find(key);
      if (random() % 2 == 0) {
        const EndpointId id = table.acquire(protocol, address, port);
        if (found != model.end()) {
          ASSERT_EQ(id, found->second.first);
          ++found->second.second;
        } else if (model.size() == capacity) {
          ASSERT_EQ(id, 0U);
        } else {
          ASSERT_TRUE(id >= 1 && id <= capacity);
          for (const auto& other : model) ASSERT_NE(other.second.first, id);
          model[key] = {id, 1};
        }
      } else if (found != model.end()) {
        const bool is_last = --found->second.second == 0;
        ASSERT_EQ(table.release(found->second.first), is_last);
        if (is_last) model.erase(found);
      }
      ASSERT_EQ(table.size(), model.size());
      const Key other = some_key(static_cast<std::uint32_t>(random() % 80));
      const auto expected = model.find(other);
      ASSERT_EQ(table.find(std::get<0>(other), std::get<1>(other), std::get<2>(other)),
                expected == model.end() ? 0U : expected->second.first);
    }
    for (const auto& [key, value] : model) {
      const EndpointTable::Entry& entry = table.at(value.first);
      ASSERT_EQ((Key{entry.protocol, entry.address, entry.port}), key);
      ASSERT_EQ(entry.references, value.second);
    }
  }
}

RC_GTEST_PROP(EndpointTable, FindsAllThatStayAfterSomeGo,
              (const std::vector<bool>& goes, HashKey key)) {
  EndpointTable table(static_cast<std::uint32_t>(goes.size()), key);
  const auto nth = [](std::size_t i) { return v4(static_cast<std::uint32_t>(i)); };
  for (std::size_t i = 0; i < goes.size(); ++i) {
    RC_ASSERT(table.acquire(net::Protocol::kTcp, nth(i), port(1)) == i + 1);
  }
  for (std::size_t i = 0; i < goes.size(); ++i) {
    if (goes[i]) RC_ASSERT(table.release(static_cast<EndpointId>(i + 1)));
  }
  for (std::size_t i = 0; i < goes.size(); ++i) {
    RC_ASSERT(table.find(net::Protocol::kTcp, nth(i), port(1)) == (goes[i] ? 0 : i + 1));
  }
}

}  // namespace
}  // namespace lb::engine
