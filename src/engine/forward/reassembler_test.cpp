// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/reassembler.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <random>

#include "engine/forward/fragment.hpp"
#include "engine/forward/test_packet.hpp"

namespace lb::engine {
namespace {

using Kind = Reassembler::Outcome::Kind;
using net::IpAddress;
using net::Protocol;
using test::build;
using test::Frame;
using test::TestPacket;

Timestamp at(int seconds) { return {std::chrono::seconds(seconds)}; }

TestPacket datagram(bool v4, std::size_t size, std::uint16_t id = 1) {
  TestPacket packet;
  if (!v4) {
    packet.source = *IpAddress::from_text("2001:db8:c::7");
    packet.destination = *IpAddress::from_text("2001:db8:1::10");
  }
  packet.protocol = Protocol::kUdp;
  packet.dont_fragment = false;
  packet.identification = id;
  packet.payload = test::pattern(size);
  return packet;
}

/// `packet` cut at `mtu`, by the code under test of the other direction.
std::vector<Frame> cut(const Frame& frame, std::uint32_t mtu, std::uint32_t id = 1) {
  static Outputs outputs;
  outputs.clear();
  const auto headers = net::parse_frame(frame).value();
  const bool done = headers.family() == net::Family::kIpv4
                        ? fragment_ipv4(frame, headers, mtu, {}, Verdict::host(), outputs)
                        : fragment_ipv6(frame, headers, mtu, {}, net::Be32::from_host(id),
                                        Verdict::host(), outputs);
  EXPECT_TRUE(done);
  std::vector<Frame> pieces;
  for (const auto& output : outputs.frames()) {
    pieces.emplace_back(output.frame.begin(), output.frame.end());
  }
  return pieces;
}

struct Bench {
  Reassembler::Outcome add(const Frame& piece, int seconds = 0) {
    return reassembler.add(piece, net::parse_frame(piece).value(), at(seconds), out);
  }
  [[nodiscard]] Frame whole(const Reassembler::Outcome& outcome) const {
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(outcome.size)};
  }
  Reassembler reassembler{{.blocks = 64, .packets = 4}, 1};
  Frame out = Frame(Reassembler::kMaxFrame);
};

RC_GTEST_PROP(Reassembler, AnyOrderGivesThePacketBack, ()) {
  const bool v4 = *rc::gen::arbitrary<bool>();
  const auto mtu = static_cast<std::uint32_t>(v4 ? *rc::gen::inRange(576, 1500)
                                                 : 1280 + *rc::gen::inRange(0, 200));
  const Frame frame = build(datagram(v4, *rc::gen::inRange<std::size_t>(3000, 20000)));
  auto pieces = cut(frame, mtu);
  RC_ASSERT(pieces.size() >= 2U);
  const std::size_t largest = std::max_element(pieces.begin(), pieces.end(),
                                               [](auto& a, auto& b) { return a.size() < b.size(); })
                                  ->size() -
                              14;
  RC_ASSERT(largest <= mtu);
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  std::shuffle(pieces.begin(), pieces.end(), random);
  Bench bench;
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
    RC_ASSERT(bench.add(pieces[i]).kind == Kind::kHeld);
    RC_ASSERT(bench.add(pieces[i]).kind == Kind::kHeld);  // a repetition changes nothing
  }
  const auto outcome = bench.add(pieces.back());
  RC_ASSERT(outcome.kind == Kind::kComplete);
  RC_ASSERT(outcome.shape.largest == largest);
  RC_ASSERT(outcome.shape.payloads.size() == pieces.size());
  RC_ASSERT(bench.whole(outcome) == frame);
  RC_ASSERT(bench.reassembler.waiting() == 0U);
}

TEST(Reassembler, TheShapeIsKeptOnTheWayOut) {
  for (const bool v4 : {true, false}) {
    Bench bench;
    const Frame frame = build(datagram(v4, 3000));
    const auto pieces = cut(frame, v4 ? 820 : 1300);
    Reassembler::Outcome outcome;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) outcome = bench.add(*piece);
    ASSERT_EQ(outcome.kind, Kind::kComplete);
    const auto headers = net::parse_frame(bench.whole(outcome)).value();
    Outputs outputs;
    ASSERT_TRUE(
        v4 ? fragment_ipv4(bench.out, headers, 1500, outcome.shape, Verdict::host(), outputs)
           : fragment_ipv6(bench.out, headers, 1500, outcome.shape, net::Be32::from_host(1),
                           Verdict::host(), outputs));
    ASSERT_EQ(outputs.frames().size(), pieces.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const auto made = outputs.frames()[i].frame;
      EXPECT_EQ(Frame(made.begin(), made.end()), pieces[i]);
    }
  }
}

TEST(Reassembler, FragmentsWithDfComeOutWithDf) {
  Bench bench;
  auto pieces = cut(build(datagram(true, 1000)), 820);
  ASSERT_EQ(pieces.size(), 2U);
  const auto set_df = [](Frame& piece) {
    piece[20] |= std::byte{0x40};
    net::store(std::span(piece), 24, net::Be16());
    net::store(std::span(piece), 24, net::internet_checksum(std::span(piece).subspan(14, 20)));
  };
  set_df(pieces[0]);
  EXPECT_EQ(bench.add(pieces[0]).kind, Kind::kHeld);
  const auto outcome = bench.add(pieces[1]);
  ASSERT_EQ(outcome.kind, Kind::kComplete);
  EXPECT_TRUE(net::parse_frame(bench.whole(outcome))->dont_fragment);
}

TEST(Reassembler, OverlapsEndThePacket) {
  for (const bool v4 : {true, false}) {
    Bench bench;
    const auto coarse = cut(build(datagram(v4, 4000)), 1400);
    const auto fine = cut(build(datagram(v4, 4000)), 1300);
    EXPECT_EQ(bench.add(coarse[0]).kind, Kind::kHeld);
    const auto outcome = bench.add(fine[1]);
    EXPECT_EQ(outcome.kind, Kind::kDropped);
    EXPECT_EQ(outcome.reason, DropReason::kFragmentOverlap);
    EXPECT_EQ(bench.reassembler.waiting(), 0U);
  }
}

TEST(Reassembler, EndsThatContradictEachOther) {
  Bench bench;
  const auto longer = cut(build(datagram(true, 3000)), 820);
  const auto shorter = cut(build(datagram(true, 2000)), 820);
  EXPECT_EQ(bench.add(longer.back()).kind, Kind::kHeld);
  const auto outcome = bench.add(shorter.back());
  EXPECT_EQ(outcome.kind, Kind::kDropped);
  EXPECT_EQ(outcome.reason, DropReason::kBadHeader);
}

TEST(Reassembler, DifferentPacketsDoNotMix) {
  Bench bench;
  const auto first = cut(build(datagram(true, 1000, 1)), 820);
  const auto second = cut(build(datagram(true, 1000, 2)), 820);
  EXPECT_EQ(bench.add(first[0]).kind, Kind::kHeld);
  EXPECT_EQ(bench.add(second[1]).kind, Kind::kHeld);
  EXPECT_EQ(bench.reassembler.waiting(), 2U);
  EXPECT_EQ(bench.add(first[1]).kind, Kind::kComplete);
  EXPECT_EQ(bench.add(second[0]).kind, Kind::kComplete);
}

TEST(Reassembler, WaitsThirtySecondsForIpv4AndSixtyForIpv6) {
  Bench bench;
  EXPECT_EQ(bench.add(cut(build(datagram(true, 1000)), 820)[0], 100).kind, Kind::kHeld);
  EXPECT_EQ(bench.add(cut(build(datagram(false, 3000)), 1300)[0], 100).kind, Kind::kHeld);
  EXPECT_EQ(bench.reassembler.expire(at(129)), 0U);
  EXPECT_EQ(bench.reassembler.expire(at(130)), 1U);
  EXPECT_EQ(bench.reassembler.expire(at(159)), 0U);
  EXPECT_EQ(bench.reassembler.expire(at(160)), 1U);
  EXPECT_EQ(bench.reassembler.waiting(), 0U);
}

TEST(Reassembler, TheOldestMakesRoom) {
  Bench bench;  // four packets
  std::uint32_t given_up = 0;
  for (std::uint16_t id = 1; id <= 10; ++id) {
    const auto outcome = bench.add(cut(build(datagram(true, 1000, id)), 820)[0], id);
    EXPECT_EQ(outcome.kind, Kind::kHeld);
    given_up += outcome.given_up;
  }
  EXPECT_EQ(bench.reassembler.waiting(), 4U);
  EXPECT_EQ(given_up, 6U);
  EXPECT_EQ(bench.add(cut(build(datagram(true, 1000, 10)), 820)[1]).kind, Kind::kComplete);
}

TEST(Reassembler, MemoryIsBounded) {
  Reassembler::Outcome outcome;
  Reassembler reassembler({.blocks = 3, .packets = 4}, 1);
  Frame out(Reassembler::kMaxFrame);
  const auto add = [&](const Frame& piece) {
    outcome = reassembler.add(piece, net::parse_frame(piece).value(), at(0), out);
    return outcome.kind;
  };
  const auto other = cut(build(datagram(true, 1000, 9)), 820);
  EXPECT_EQ(add(other[0]), Kind::kHeld);
  const auto pieces = cut(build(datagram(true, 3200, 1)), 820);
  EXPECT_EQ(add(pieces[0]), Kind::kHeld);
  EXPECT_EQ(add(pieces[1]), Kind::kHeld);
  EXPECT_EQ(add(pieces[2]), Kind::kHeld);
  EXPECT_EQ(outcome.given_up, 1U) << "the other one had to go";
  EXPECT_EQ(add(pieces[3]), Kind::kDropped);
  EXPECT_EQ(outcome.reason, DropReason::kFragmentMemory);
  EXPECT_EQ(reassembler.waiting(), 0U);
}

TEST(Reassembler, AFragmentBeyondTheLargestPacketIsRefused) {
  Bench bench;
  Frame piece = cut(build(datagram(true, 1000)), 820)[0];
  net::store(std::span(piece), 20, test::be16(0x3fff));
  net::store(std::span(piece), 24, net::Be16());
  net::store(std::span(piece), 24, net::internet_checksum(std::span(piece).subspan(14, 20)));
  const auto outcome = bench.add(piece);
  EXPECT_EQ(outcome.kind, Kind::kDropped);
  EXPECT_EQ(outcome.reason, DropReason::kBadHeader);
}

TEST(Reassembler, CongestionMarksOfFragments) {
  const auto mark = [](Frame piece, unsigned ecn) {
    piece[15] = static_cast<std::byte>(ecn);
    net::store(std::span(piece), 24, net::Be16());
    net::store(std::span(piece), 24, net::internet_checksum(std::span(piece).subspan(14, 20)));
    return piece;
  };
  const auto pieces = cut(build(datagram(true, 1000)), 820);
  Bench bench;
  EXPECT_EQ(bench.add(mark(pieces[0], 2)).kind, Kind::kHeld);
  const auto outcome = bench.add(mark(pieces[1], 3));
  ASSERT_EQ(outcome.kind, Kind::kComplete);
  EXPECT_EQ(net::parse_frame(bench.whole(outcome))->tos, 3);
  EXPECT_EQ(bench.add(mark(pieces[0], 0)).kind, Kind::kHeld);
  EXPECT_EQ(bench.add(mark(pieces[1], 3)).kind, Kind::kDropped);
}

// Hostile fragments: whatever comes, nothing is read or written outside, and memory comes back.
TEST(Reassembler, RandomFragments) {
  std::mt19937 random(6);
  Bench bench;
  std::size_t completed = 0;
  for (int round = 0; round < 30000; ++round) {
    const bool v4 = random() % 2 == 0;
    TestPacket packet = datagram(v4, random() % 64 + 1, static_cast<std::uint16_t>(random() % 6));
    Frame segment = test::pattern(8 * (1 + random() % 3) + (random() % 4 == 0 ? random() % 8 : 0));
    const unsigned field = static_cast<unsigned>((random() % 6) * (v4 ? 1 : 8));
    const bool more = random() % 3 != 0;
    Frame frame;
    if (v4) {
      frame = build(packet, segment);
      net::store(std::span(frame), 20, test::be16(field | (more ? 0x2000U : 0U)));
      net::store(std::span(frame), 24, net::Be16());
      net::store(std::span(frame), 24, net::internet_checksum(std::span(frame).subspan(14, 20)));
    } else {
      Frame header(8);
      header[0] = std::byte{17};
      net::store(std::span(header), 2, test::be16(field | (more ? 1U : 0U)));
      header[7] = static_cast<std::byte>(random() % 6);
      segment.insert(segment.begin(), header.begin(), header.end());
      packet.protocol = Protocol::kFragment;
      frame = build(packet, segment);
    }
    const auto headers = net::parse_frame(frame).value();
    const auto outcome =
        bench.reassembler.add(frame, headers, at(round / 100), std::span(bench.out));
    if (outcome.kind == Kind::kComplete) {
      ASSERT_TRUE(net::parse_frame(bench.whole(outcome)));
      ++completed;
    }
    if (round % 50 == 0) bench.reassembler.expire(at(round / 100));
  }
  EXPECT_GT(completed, 100U);
  bench.reassembler.expire(at(100000));
  EXPECT_EQ(bench.reassembler.waiting(), 0U);
  // All blocks are back: the largest packet that fits them still does.
  Reassembler::Outcome outcome;
  for (const auto& piece : cut(build(datagram(true, 60000)), 1500)) outcome = bench.add(piece);
  EXPECT_EQ(outcome.kind, Kind::kComplete);
}

TEST(Fragment, OptionsThatAreNotCopiedGoToTheFirstOnly) {
  TestPacket packet = datagram(true, 1000);
  Frame frame = build(packet);
  // Record route (not copied), router alert (copied), end.
  const Frame options{std::byte{7}, std::byte{3}, std::byte{4}, std::byte{0x94},
                      std::byte{4}, std::byte{0}, std::byte{0}, std::byte{0}};
  frame.insert(frame.begin() + 34, options.begin(), options.end());
  frame[14] = std::byte{0x47};
  net::store(std::span(frame), 16, test::be16(frame.size() - 14));
  net::store(std::span(frame), 24, net::Be16());
  net::store(std::span(frame), 24, net::internet_checksum(std::span(frame).subspan(14, 28)));
  const auto pieces = cut(frame, 600);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(Frame(pieces[0].begin() + 34, pieces[0].begin() + 42), options);
  const Frame later{std::byte{1}, std::byte{1}, std::byte{1}, std::byte{0x94},
                    std::byte{4}, std::byte{0}, std::byte{0}, std::byte{0}};
  EXPECT_EQ(Frame(pieces[1].begin() + 34, pieces[1].begin() + 42), later);
  for (const auto& piece : pieces) EXPECT_TRUE(net::parse_frame(piece));
}

TEST(Fragment, AFragmentCanBeCutAgain) {
  const Frame frame = build(datagram(true, 3000));
  std::vector<Frame> pieces;
  for (const auto& coarse : cut(frame, 1500)) {
    for (auto& fine : cut(coarse, 600)) pieces.push_back(std::move(fine));
  }
  Bench bench;
  Reassembler::Outcome outcome;
  for (const auto& piece : pieces) outcome = bench.add(piece);
  ASSERT_EQ(outcome.kind, Kind::kComplete);
  EXPECT_EQ(bench.whole(outcome), frame);
}

TEST(Fragment, NoRoomIsAnError) {
  Outputs outputs;
  const Frame frame = build(datagram(true, 60000));
  const auto headers = net::parse_frame(frame).value();
  EXPECT_FALSE(fragment_ipv4(frame, headers, 68, {}, Verdict::host(), outputs));
  outputs.clear();
  EXPECT_FALSE(fragment_ipv4(frame, headers, 20, {}, Verdict::host(), outputs));
  EXPECT_TRUE(outputs.frames().empty());
}

}  // namespace
}  // namespace lb::engine
