// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "replay/compare.hpp"
#include "replay/frame_builder.hpp"
#include "replay/frame_checksum.hpp"
#include "replay/frame_text.hpp"
#include "replay/ip_view.hpp"

namespace lb::replay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ShortPacket tcp_syn() {
  return {.source_mac = *net::Mac::from_text("02:00:00:00:01:fe"),
          .destination_mac = *net::Mac::from_text("02:00:00:00:01:01"),
          .protocol = net::Protocol::kTcp,
          .source = *endpoint_from_text("198.51.100.2:5000"),
          .destination = *endpoint_from_text("192.0.2.34:5000"),
          .flags = "S"};
}

// The client's SYN that was recorded in tests/ipvs-oracle/fwd/nonlocal-vip-policy.jsonl.
TEST(FrameBuilder, MakesTheRecordedSyn) {
  auto packet = tcp_syn();
  packet.source = *endpoint_from_text("198.51.100.2:50");
  packet.destination = *endpoint_from_text("192.88.99.1:80");
  const auto frame = build_frame(packet);
  ASSERT_TRUE(frame);
  EXPECT_EQ(hex_text(*frame),
            "0200000001010200000001fe080045000028000140003f06ee3fc6336402c058630100320050000003e8"
            "000000005002faf062f80000");
}

TEST(FrameBuilder, ChecksumsAreRightForEveryProtocolAndFamily) {
  for (const auto protocol : {net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp}) {
    for (const bool is_v6 : {false, true}) {
      auto packet = tcp_syn();
      packet.protocol = protocol;
      packet.flags = protocol == net::Protocol::kTcp    ? "FSRPAUEC"
                     : protocol == net::Protocol::kSctp ? "COOKIE_ECHO+DATA"
                                                        : "";
      if (is_v6) {
        packet.source = *endpoint_from_text("[2001:db8::2]:5000");
        packet.destination = *endpoint_from_text("[2001:db8::3]:80");
      }
      auto frame = build_frame(packet);
      ASSERT_TRUE(frame);
      EXPECT_THAT(wrong_checksums(*frame), IsEmpty()) << describe_frame(*frame);
      frame->back() ^= std::byte{0x40};
      EXPECT_THAT(wrong_checksums(*frame), testing::SizeIs(1)) << describe_frame(*frame);
    }
  }
}

TEST(FrameBuilder, RefusesWhatItDoesNotKnow) {
  auto packet = tcp_syn();
  packet.flags = "SX";
  EXPECT_FALSE(build_frame(packet));
  packet.protocol = net::Protocol::kSctp;
  packet.flags = "INIT+HELLO";
  EXPECT_FALSE(build_frame(packet));
  packet = tcp_syn();
  packet.destination = *endpoint_from_text("[2001:db8::3]:80");
  EXPECT_FALSE(build_frame(packet));
}

TEST(FrameChecksum, KnownValues) {
  // RFC 1071, 3: the example's sum is ddf2. RFC 3720, B.4: CRC32c of 32 zero bytes is aa36918a.
  EXPECT_EQ(plain_checksum(*bytes_from_hex("0001f203f4f5f6f7")), 0xffff - 0xddf2);
  EXPECT_EQ(plain_crc32c(Bytes(32)), 0xaa36918aU);
}

TEST(FrameText, IsTotalOnCutFrames) {
  auto packet = tcp_syn();
  const auto frame = *build_frame(packet);
  for (std::size_t size = 0; size <= frame.size(); ++size) {
    EXPECT_FALSE(describe_frame(std::span(frame).first(size)).empty());
    (void)wrong_checksums(std::span(frame).first(size));
  }
  EXPECT_THAT(describe_frame(frame), HasSubstr("198.51.100.2:5000 > 192.0.2.34:5000 tcp S seq"));
}

TEST(CompareFrames, FindsAByteButNotOneMarkedAny) {
  const auto frame = *build_frame(tcp_syn());
  ExpectedFrame expected{.port = "int", .bytes = frame};
  SentFrame sent{"int", frame};
  EXPECT_FALSE(compare_frames({&expected, 1}, {&sent, 1}));
  sent.bytes[19] ^= std::byte{1};  // identification
  EXPECT_TRUE(compare_frames({&expected, 1}, {&sent, 1}));
  expected.any = {{18, 2}};
  // Not compared, but the header checksum has become wrong.
  EXPECT_TRUE(compare_frames({&expected, 1}, {&sent, 1}));
  sent.bytes[24] = sent.bytes[25] = std::byte{0};
  const auto sum = plain_checksum(std::span(sent.bytes).subspan(14, 20));
  sent.bytes[24] = static_cast<std::byte>(sum >> 8);
  sent.bytes[25] = static_cast<std::byte>(sum & 0xff);
  expected.any.push_back({24, 2});
  EXPECT_FALSE(compare_frames({&expected, 1}, {&sent, 1}));
  sent.port = "ext";
  EXPECT_TRUE(compare_frames({&expected, 1}, {&sent, 1}));
  EXPECT_TRUE(compare_frames({&expected, 1}, {}));
}

CommandStep listing(const std::string& out) { return {.arguments = {"ipvsadm"}, .out = out}; }

TEST(CompareOutput, ToleratesTwoSecondsInConnectionListings) {
  const auto expected = listing("pro expire\nTCP 01:00  NONE x\n");
  EXPECT_FALSE(compare_output(expected, "pro expire\nTCP 00:58  NONE x\n"));
  EXPECT_TRUE(compare_output(expected, "pro expire\nTCP 00:57  NONE x\n"));
  EXPECT_TRUE(compare_output(expected, "pro expire\nTCP 01:00  NONE y\n"));
  EXPECT_TRUE(compare_output(expected, "pro expire\n"));
  EXPECT_TRUE(compare_output(expected, "pro expire\nTCP 01:00  NONE x"));
  EXPECT_TRUE(compare_output(listing("TCP  192.0.2.1:80 rr\n"), "TCP  192.0.2.1:81 rr\n"));
}

TEST(CompareOutput, UnorderedAndSkippedLines) {
  auto expected = listing("TCP 01:00  A\nUDP 02:00  B\n");
  EXPECT_TRUE(compare_output(expected, "UDP 02:00  B\nTCP 01:00  A\n"));
  expected.unordered = true;
  EXPECT_FALSE(compare_output(expected, "UDP 09:00  B\nTCP 01:00  A\n"));
  EXPECT_TRUE(compare_output(expected, "UDP 02:00  B\nUDP 02:00  B\n"));
  auto skipping = listing("a\nb\n");
  skipping.skip_lines = {1};
  EXPECT_FALSE(compare_output(skipping, "a\nc\n"));
  EXPECT_TRUE(compare_output(skipping, "d\nb\n"));
}

TEST(CompareConnections, FindsMissingSurplusAndLate) {
  model::ConnectionInfo info{.protocol = net::Protocol::kTcp,
                             .client = *endpoint_from_text("198.51.100.2:5000"),
                             .virtual_end = *endpoint_from_text("192.0.2.34:80"),
                             .destination = *endpoint_from_text("10.0.0.1:80"),
                             .state = "NONE",
                             .expires_in = 57};
  ConnectionsStep step;
  step.connections = {{"TCP", 59, "NONE", "198.51.100.2:5000", "192.0.2.34:80", "10.0.0.1:80"}};
  EXPECT_FALSE(compare_connections(step, {&info, 1}));
  info.expires_in = 56;
  EXPECT_TRUE(compare_connections(step, {&info, 1}));
  step.ignore_expiry = true;
  EXPECT_FALSE(compare_connections(step, {&info, 1}));
  EXPECT_TRUE(compare_connections(step, {}));
  step.connections.clear();
  EXPECT_TRUE(compare_connections(step, {&info, 1}));
  step.partial = true;
  EXPECT_FALSE(compare_connections(step, {&info, 1}));
}

}  // namespace
}  // namespace lb::replay
