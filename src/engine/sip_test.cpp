// SPDX-License-Identifier: Apache-2.0
#include "engine/sip.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace lb::engine {
namespace {

std::string id_of(std::string_view message) {
  const auto id = find_call_id(message);
  return id ? std::string(*id) : "nothing";
}

TEST(Sip, CallIds) {
  EXPECT_EQ(id_of("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCall-ID: abc123@h\r\n"
                  "CSeq: 1 INVITE\r\n\r\n"),
            "abc123@h");
  EXPECT_EQ(id_of("x\r\ni: short\r\n"), "short");
  EXPECT_EQ(id_of("x\r\nI:short\r\n"), "short");
  EXPECT_EQ(id_of("x\r\ncALL-iD \t:  a.b-c%d@[2001:db8::1]\r\n"), "a.b-c%d@[2001:db8::1]");
  EXPECT_EQ(id_of("x\nCall-ID: bare-line-feed\n"), "bare-line-feed");
  EXPECT_EQ(id_of("x\rCall-ID: bare-return\r"), "bare-return");
  EXPECT_EQ(id_of("x\r\nCall-ID:\r\n folded@h\r\n"), "folded@h");
  EXPECT_EQ(id_of("x\r\nCall-ID: @\r\nCall-ID: second\r\n"), "second");
}

TEST(Sip, WhatIsNoCallId) {
  for (const auto* message :
       {"", "\r\n", "no call id here", "Call-ID: in the first line\r\n", "x\r\nCall-ID",
        "x\r\nCall-ID:", "x\r\nCall-ID: ", "x\r\nCall-ID: cut-off", "x\r\nCall-ID: two words\r\n",
        "x\r\nCall-ID missing colon\r\n", "x\r\nid: no\r\n", "x\r\n Call-ID: continued line\r\n",
        "x\r\nCall-ID: a@\r\n", "x\r\nCall-ID: a@b@c\r\n", "x\r\ni"}) {
    EXPECT_EQ(id_of(message), "nothing") << message;
  }
}

TEST(Sip, LongestCallId) {
  const auto message = [](std::size_t size) {
    return "x\r\nCall-ID: " + std::string(size, 'a') + "\r\n";
  };
  EXPECT_EQ(id_of(message(kMaxCallId)).size(), kMaxCallId);
  EXPECT_EQ(id_of(message(kMaxCallId + 1)), "nothing");
}

RC_GTEST_PROP(Sip, AnyBytesAreSafe, ()) {
  const auto piece = rc::gen::weightedOneOf<std::string>(
      {{3, rc::gen::element<std::string>("\r\n", "Call-ID", "i", ":", " ", "\t", "@", "a", "\r")},
       {1, rc::gen::arbitrary<std::string>()}});
  std::string text;
  for (const auto& part : *rc::gen::container<std::vector<std::string>>(piece)) text += part;
  const auto id = find_call_id(text);
  if (!id) return;
  RC_ASSERT(!id->empty());
  RC_ASSERT(id->size() <= kMaxCallId);
  RC_ASSERT(id->data() >= text.data());
  RC_ASSERT(id->data() + id->size() < text.data() + text.size());
}

}  // namespace
}  // namespace lb::engine
