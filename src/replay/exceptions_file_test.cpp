// SPDX-License-Identifier: Apache-2.0
#include "replay/exceptions_file.hpp"

#include <gtest/gtest.h>

namespace lb::replay {
namespace {

TEST(ExceptionsFile, ReadsIdsAndReasons) {
  const auto exceptions = parse_exceptions("# comment\n\na/b  not yet done\nc/d\tlate\n", "f");
  ASSERT_TRUE(exceptions) << exceptions.error().to_text();
  ASSERT_EQ(exceptions->size(), 2U);
  EXPECT_EQ(exceptions->find("a/b")->second, "not yet done");
  EXPECT_EQ(exceptions->find("c/d")->second, "late");
}

TEST(ExceptionsFile, EachCaseNeedsAReasonAndStandsOnce) {
  const auto without_reason = parse_exceptions("a/b x\nc/d \n", "f");
  ASSERT_FALSE(without_reason);
  EXPECT_EQ(without_reason.error().to_text(), "f:2: a case without a reason");
  const auto twice = parse_exceptions("a/b x\na/b y\n", "f");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().line, 2U);
}

}  // namespace
}  // namespace lb::replay
