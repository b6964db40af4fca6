// SPDX-License-Identifier: Apache-2.0
#include "engine/template_keys.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <string>

namespace lb::engine {
namespace {

constexpr HashKey kKey{1, 2};

class TemplateKeysTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kCapacity = 8;

  ConnectionId make(std::uint8_t client, EndpointId virtual_end) {
    const auto id = table_.create();
    if (id == 0) return 0;
    table_.at(id).client = {198, 51, 100, client};
    table_.at(id).virtual_end = virtual_end;
    table_.at(id).protocol = net::Protocol::kUdp;
    return id;
  }
  ConnectionId find(ConnectionId like, std::string_view data) const {
    return keys_.find(table_, table_.at(like), data);
  }

  ConnectionTable table_{kCapacity, kKey};
  TemplateKeys keys_{kCapacity, kKey};
};

TEST_F(TemplateKeysTest, FoundByDataAndKey) {
  const auto a = make(1, 1);
  const auto b = make(1, 1);
  const auto c = make(2, 1);
  ASSERT_TRUE(keys_.add(a, table_.at(a), "one@h"));
  ASSERT_TRUE(keys_.add(b, table_.at(b), "two@h"));
  ASSERT_TRUE(keys_.add(c, table_.at(c), "one@h"));
  EXPECT_EQ(find(a, "one@h"), a);
  EXPECT_EQ(find(a, "two@h"), b);
  EXPECT_EQ(find(c, "one@h"), c);
  EXPECT_EQ(find(c, "two@h"), 0U);
  EXPECT_EQ(find(a, "one@"), 0U);
  EXPECT_EQ(keys_.data(b), "two@h");
}

TEST_F(TemplateKeysTest, UnfiledKeepsItsDataAndTheOlderIsFoundAgain) {
  const auto older = make(1, 1);
  const auto newer = make(1, 1);
  ASSERT_TRUE(keys_.add(older, table_.at(older), "x"));
  ASSERT_TRUE(keys_.add(newer, table_.at(newer), "x"));
  EXPECT_EQ(find(older, "x"), newer);
  keys_.unfile(newer);
  keys_.unfile(newer);
  EXPECT_EQ(find(older, "x"), older);
  EXPECT_EQ(keys_.data(newer), "x");
  keys_.remove(newer);
  EXPECT_EQ(keys_.data(newer), "");
  keys_.remove(newer);
  EXPECT_EQ(find(older, "x"), older);
}

TEST_F(TemplateKeysTest, Limits) {
  const auto id = make(1, 1);
  const std::string longest(TemplateKeys::kMaxSize, 'x');
  EXPECT_FALSE(keys_.add(id, table_.at(id), ""));
  EXPECT_FALSE(keys_.add(id, table_.at(id), longest + "x"));
  ASSERT_TRUE(keys_.add(id, table_.at(id), longest));
  EXPECT_EQ(find(id, longest), id);
  EXPECT_EQ(find(id, longest.substr(1)), 0U);
}

// Against a plain map.
RC_GTEST_FIXTURE_PROP(TemplateKeysTest, LikeAMap, ()) {
  std::map<std::pair<std::uint8_t, std::string>, ConnectionId> expected;
  const auto probe = make(0, 1);
  for (int step = 0; step < 40; ++step) {
    const auto client = *rc::gen::inRange<std::uint8_t>(1, 4);
    const auto data = std::string(*rc::gen::inRange<std::size_t>(1, 20), 'd');
    const auto key = std::pair(client, data);
    const auto found = expected.find(key);
    if (found != expected.end()) {
      keys_.remove(found->second);
      table_.destroy(found->second);
      expected.erase(found);
    } else if (const auto id = make(client, 1)) {
      RC_ASSERT(keys_.add(id, table_.at(id), data));
      expected.emplace(key, id);
    }
    for (const auto& [wanted, id] : expected) {
      auto record = table_.at(probe);
      record.client[3] = wanted.first;
      record.client[0] = 198;
      record.client[1] = 51;
      record.client[2] = 100;
      RC_ASSERT(keys_.find(table_, record, wanted.second) == id);
      RC_ASSERT(keys_.data(id) == wanted.second);
    }
  }
}

}  // namespace
}  // namespace lb::engine
