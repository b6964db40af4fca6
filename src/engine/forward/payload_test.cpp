// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/payload.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/packet_builder.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kHeadroom = 16;

/// A TCP packet with this payload in a buffer that ends `tailroom` bytes behind it.
class Received {
 public:
  Received(std::string_view from, std::string_view text, std::size_t tailroom,
           std::size_t padding = 0) {
    auto sent = between(
        net::Protocol::kTcp, end(from, 21),
        end(from.find(':') == std::string_view::npos ? "198.51.100.7" : "2001:db8:1::7", 40000));
    for (const char c : text) sent.payload.push_back(static_cast<std::byte>(c));
    auto frame = build(sent);
    frame.resize(frame.size() + padding);
    buffer_.resize(kHeadroom + frame.size() + tailroom);
    std::copy(frame.begin(), frame.end(), buffer_.begin() + kHeadroom);
    packet = net::Packet(buffer_, kHeadroom, frame.size());
    headers_ = net::parse_frame(frame).value();
  }
  [[nodiscard]] std::string text() const { return std::string(tcp_payload(context)); }
  [[nodiscard]] std::string fault() const { return ChecksumOracle::fault(context.packet.bytes()); }

 private:
  Frame buffer_;
  Outputs outputs_;
  net::Headers headers_;

 public:
  net::Packet packet{{}, 0, 0};
  PacketContext context{packet, headers_, InterfaceId{1}, outputs_};
};

TEST(Payload, GrowsShrinksAndStays) {
  for (const auto* from : {"10.0.0.2", "2001:db8:3::2"}) {
    Received received(from, "one two three", 8);
    ASSERT_TRUE(replace_payload(received.context, 4, 3, "twenty"));
    EXPECT_EQ(received.text(), "one twenty three");
    EXPECT_EQ(received.fault(), "");
    ASSERT_TRUE(replace_payload(received.context, 0, 4, ""));
    EXPECT_EQ(received.text(), "twenty three");
    EXPECT_EQ(received.fault(), "");
    ASSERT_TRUE(replace_payload(received.context, 7, 5, "eight"));
    EXPECT_EQ(received.text(), "twenty eight");
    EXPECT_EQ(received.fault(), "");
    EXPECT_EQ(net::parse_frame(received.context.packet.bytes()).value().end,
              received.context.headers.end);
  }
}

TEST(Payload, PaddingOfTheFrameIsNoPayload) {
  Received received("10.0.0.2", "ab", 0, 4);
  EXPECT_EQ(received.text(), "ab");
  ASSERT_TRUE(replace_payload(received.context, 1, 1, "cdefg"));
  EXPECT_EQ(received.text(), "acdefg");
  EXPECT_EQ(received.fault(), "");
}

TEST(Payload, RefusedWithoutRoomOrOutside) {
  Received received("10.0.0.2", "abcd", 1);
  EXPECT_FALSE(replace_payload(received.context, 0, 1, "xyz"));
  EXPECT_FALSE(replace_payload(received.context, 5, 0, ""));
  EXPECT_FALSE(replace_payload(received.context, 3, 2, ""));
  EXPECT_EQ(received.text(), "abcd");
  EXPECT_EQ(received.fault(), "");
  EXPECT_TRUE(replace_payload(received.context, 4, 0, "e"));
  EXPECT_EQ(received.text(), "abcde");
}

TEST(Payload, RefusedBeyondWhatALengthFieldHolds) {
  Received received("10.0.0.2", std::string(65535 - 40, 'x'), 10);
  EXPECT_FALSE(replace_payload(received.context, 0, 0, "x"));
  EXPECT_TRUE(replace_payload(received.context, 0, 1, "y"));
  EXPECT_EQ(received.fault(), "");
}

TEST(Payload, AHeaderThatLiesHasNoPayload) {
  constexpr std::size_t kDataOffset = 14 + 20 + 12;
  Received received("10.0.0.2", "abcd", 0);
  for (const unsigned words : {0U, 4U, 7U, 15U}) {
    received.context.packet.bytes()[kDataOffset] = static_cast<std::byte>(words << 4U);
    EXPECT_EQ(received.text(), "") << words;
  }
}

RC_GTEST_PROP(Payload, LikeAString, (const std::string& text, const std::string& replacement)) {
  const auto offset = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
  const auto size = *rc::gen::inRange<std::size_t>(0, text.size() - offset + 1);
  Received received("10.0.0.2", text, replacement.size());
  RC_ASSERT(replace_payload(received.context, offset, size, replacement));
  auto expected = text;
  expected.replace(offset, size, replacement);
  RC_ASSERT(received.text() == expected);
  RC_ASSERT(received.fault().empty());
}

}  // namespace
}  // namespace lb::engine
