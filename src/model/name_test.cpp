// SPDX-License-Identifier: Apache-2.0
#include "model/name.hpp"

#include <gtest/gtest.h>

namespace lb::model {
namespace {

TEST(Name, HoldsUpToFifteenCharacters) {
  EXPECT_EQ(Name("wlc").view(), "wlc");
  EXPECT_EQ(Name("123456789012345").view(), "123456789012345");
  EXPECT_EQ(Name("1234567890123456").view(), "123456789012345");
  EXPECT_TRUE(Name().empty());
  EXPECT_TRUE(Name("").empty());
}

TEST(Name, ComparesByItsText) {
  EXPECT_EQ(Name("rr"), Name(std::string_view("rrr").substr(0, 2)));
  EXPECT_NE(Name("rr"), Name("wrr"));
  EXPECT_NE(Name("rr"), Name("rrr"));
  EXPECT_EQ(Name("1234567890123456"), Name("123456789012345x"));
}

}  // namespace
}  // namespace lb::model
