// SPDX-License-Identifier: Apache-2.0
#include "daemon/log.hpp"

#include <gtest/gtest.h>

namespace lb::daemon {
namespace {

TEST(JsonText, WhatJsonReservesIsEscaped) {
  EXPECT_EQ(json_text("eth0 is gone"), "eth0 is gone");
  EXPECT_EQ(json_text("a\"b\\c"), R"(a\"b\\c)");
  EXPECT_EQ(json_text("line\nnext\x01"), R"(line\u000anext\u0001)");
  EXPECT_EQ(json_text(std::string_view("a\0b", 3)), R"(a\u0000b)");
}

TEST(JsonText, Utf8IsKeptAndOtherBytesAreReplaced) {
  EXPECT_EQ(json_text("gr\u00fcn \u20ac \U0001F680"), "gr\u00fcn \u20ac \U0001F680");
  EXPECT_EQ(json_text("\xff"), R"(\ufffd)");
  EXPECT_EQ(json_text("\xc3"), R"(\ufffd)");            // cut off
  EXPECT_EQ(json_text("\xc0\xaf"), R"(\ufffd\ufffd)");  // too long a form of '/'
  EXPECT_EQ(json_text("\xe0\x80\xaf"), R"(\ufffd\ufffd\ufffd)");
  EXPECT_EQ(json_text("\xed\xa0\x80"), R"(\ufffd\ufffd\ufffd)");  // a surrogate
}

}  // namespace
}  // namespace lb::daemon
