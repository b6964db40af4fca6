// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence_adjustment.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/packet_builder.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kTcp = 14 + 20;

/// A packet with these TCP options (padded to whole words), sealed.
Frame with_options(std::vector<unsigned> options, std::uint32_t sequence,
                   std::uint32_t acknowledgement) {
  const auto packet =
      between(net::Protocol::kTcp, end("198.51.100.7", 40000), end("192.0.2.10", 21));
  while (options.size() % 4 != 0) options.push_back(0);
  Frame segment = segment_of(packet);
  for (const auto option : options) segment.push_back(static_cast<std::byte>(option));
  net::store(std::span(segment), 4, net::Be32::from_host(sequence));
  net::store(std::span(segment), 8, net::Be32::from_host(acknowledgement));
  segment[12] = static_cast<std::byte>(segment.size() / 4 << 4U);
  seal(packet, segment, 16);
  return build(packet, segment);
}

std::uint32_t word(const Frame& frame, std::size_t at) {
  return net::load<net::Be32>(frame, kTcp + at).to_host();
}

net::Headers headers_of(const Frame& frame) { return net::parse_frame(frame).value(); }

TEST(SequenceShift, OneChange) {
  SequenceShift shift;
  EXPECT_TRUE(shift.is_idle());
  shift.move(5000, -2);
  EXPECT_EQ(shift.to_receiver(5000), 5000U);
  EXPECT_EQ(shift.to_receiver(5050), 5048U);
  EXPECT_EQ(shift.to_sender(5048), 5050U);
  EXPECT_EQ(shift.to_sender(5000), 5000U);
  EXPECT_FALSE(shift.is_idle());
}

TEST(SequenceShift, ChangesAddUpAndTheOneBeforeIsKept) {
  SequenceShift shift;
  shift.move(1000, 3);
  shift.move(2000, 4);
  EXPECT_EQ(shift.to_receiver(1500), 1503U);
  EXPECT_EQ(shift.to_receiver(2000), 2003U);
  EXPECT_EQ(shift.to_receiver(2001), 2008U);
  EXPECT_EQ(shift.to_sender(2008), 2001U);
  EXPECT_EQ(shift.to_sender(2003), 2000U);
}

TEST(SequenceShift, APacketSentAgainCountsOnce) {
  SequenceShift shift;
  shift.move(1000, 3);
  shift.move(1000, 3);
  shift.move(900, 3);
  EXPECT_EQ(shift.to_receiver(1001), 1004U);
}

RC_GTEST_PROP(SequenceShift, ThereAndBack, (std::uint32_t position, std::uint16_t ahead)) {
  const auto growth = *rc::gen::inRange(-20, 20);
  SequenceShift shift;
  shift.move(position, growth);
  // Behind what was said anew: those numbers exist on both sides.
  const auto sequence = position + 50U + ahead;
  RC_ASSERT(shift.to_receiver(sequence) == sequence + static_cast<std::uint32_t>(growth));
  RC_ASSERT(shift.to_sender(shift.to_receiver(sequence)) == sequence);
}

TEST(SequenceAdjustment, NumbersAndChecksum) {
  SequenceShift shift;
  shift.move(0xfffffff0U, 5);  // the numbers wrap behind it
  auto frame = with_options({}, 10, 77);
  adjust_sequence(frame, headers_of(frame), shift);
  EXPECT_EQ(word(frame, 4), 15U);
  EXPECT_EQ(word(frame, 8), 77U);
  EXPECT_EQ(ChecksumOracle::fault(frame), "");
  frame = with_options({}, 10, 15);
  adjust_acknowledgement(frame, headers_of(frame), shift);
  EXPECT_EQ(word(frame, 4), 10U);
  EXPECT_EQ(word(frame, 8), 10U);
  EXPECT_EQ(ChecksumOracle::fault(frame), "");
}

TEST(SequenceAdjustment, SelectiveAcknowledgementsWhereverTheyLie) {
  SequenceShift shift;
  shift.move(1000, -7);
  for (const std::size_t padding : {0U, 1U, 2U, 3U}) {
    std::vector<unsigned> options(padding, 1);
    const std::vector<unsigned> sack{5, 18, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11, 0};
    options.insert(options.end(), sack.begin(), sack.end());
    auto frame = with_options(options, 1, 1500);
    adjust_acknowledgement(frame, headers_of(frame), shift);
    EXPECT_EQ(word(frame, 20 + padding + 2), 0x807U);
    EXPECT_EQ(word(frame, 20 + padding + 14), 0xb07U);
    EXPECT_EQ(word(frame, 8), 1507U);
    EXPECT_EQ(ChecksumOracle::fault(frame), "") << padding;
  }
}

TEST(SequenceAdjustment, NothingWithoutAcknowledgementOrShift) {
  SequenceShift shift;
  const auto frame = with_options({}, 10, 2000);
  auto same = frame;
  adjust_acknowledgement(same, headers_of(same), shift);
  adjust_sequence(same, headers_of(same), shift);
  EXPECT_EQ(same, frame);
  shift.move(1000, 1);
  auto headers = headers_of(frame);
  headers.tcp_flags = net::kTcpSyn;
  adjust_acknowledgement(same, headers, shift);
  EXPECT_EQ(same, frame);
}

RC_GTEST_PROP(SequenceAdjustment, AnyOptionsAreSafe, ()) {
  const auto octet = rc::gen::weightedOneOf<unsigned>(
      {{3, rc::gen::element(0U, 1U, 2U, 5U, 10U, 18U)}, {1, rc::gen::inRange(0U, 256U)}});
  auto options = *rc::gen::resize(36, rc::gen::container<std::vector<unsigned>>(octet));
  if (options.size() > 36) options.resize(36);
  SequenceShift shift;
  shift.move(1000, 9);
  auto frame = with_options(options, 1, 5000);
  // The header may claim more than there is.
  frame[kTcp + 12] |= static_cast<std::byte>(*rc::gen::element(0x00, 0xf0));
  auto headers = headers_of(frame);
  const auto segment = std::span(frame).subspan(kTcp);
  net::store(segment, 16, net::Be16());
  net::store(
      segment, 16,
      net::transport_checksum(headers.source, headers.destination, headers.protocol, segment));
  adjust_acknowledgement(frame, headers, shift);
  RC_ASSERT(word(frame, 8) == 4991U);
  RC_ASSERT(ChecksumOracle::fault(frame).empty());
}

}  // namespace
}  // namespace lb::engine
