// SPDX-License-Identifier: Apache-2.0
#include "engine/verdict.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>

namespace lb::engine {
namespace {

class OutputsTest : public testing::Test {
 protected:
  std::unique_ptr<Outputs> outputs_ = std::make_unique<Outputs>();
};

TEST_F(OutputsTest, FramesAreAlignedAndApart) {
  constexpr std::size_t kSizes[] = {1, 60, 1514, 64, 9014, 15};
  for (const std::size_t size : kSizes) {
    const auto frame = outputs_->reserve(size);
    ASSERT_EQ(frame.size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.data()) % 16, 0U);
    std::fill(frame.begin(), frame.end(), static_cast<std::byte>(size));
    outputs_->commit(Verdict::host());
  }
  ASSERT_EQ(outputs_->frames().size(), std::size(kSizes));
  for (std::size_t i = 0; i < std::size(kSizes); ++i) {
    const auto frame = outputs_->frames()[i].frame;
    ASSERT_EQ(frame.size(), kSizes[i]);
    EXPECT_TRUE(std::all_of(frame.begin(), frame.end(),
                            [&](std::byte b) { return b == static_cast<std::byte>(kSizes[i]); }));
  }
}

TEST_F(OutputsTest, OnlyTheLastReservationIsCommittedAndOnlyOnce) {
  const auto first = outputs_->reserve(100);
  const auto second = outputs_->reserve(200);
  EXPECT_EQ(first.data(), second.data());
  outputs_->commit(Verdict::drop(DropReason::kInternal));
  outputs_->commit(Verdict::host());
  ASSERT_EQ(outputs_->frames().size(), 1U);
  EXPECT_EQ(outputs_->frames()[0].frame.size(), 200U);
  EXPECT_EQ(outputs_->frames()[0].verdict.kind, Verdict::Kind::kDrop);
}

TEST_F(OutputsTest, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(outputs_->reserve(Outputs::kRoom + 1).empty());
  EXPECT_TRUE(outputs_->reserve(SIZE_MAX).empty());
  EXPECT_EQ(outputs_->reserve(Outputs::kRoom).size(), Outputs::kRoom);
  outputs_->commit(Verdict::host());
  EXPECT_TRUE(outputs_->reserve(1).empty());
  outputs_->commit(Verdict::host());
  EXPECT_EQ(outputs_->frames().size(), 1U);
}

TEST_F(OutputsTest, HasAnEndOfFramesAndCanBeUsedAgain) {
  constexpr std::size_t kSize = 1024;  // so many have room
  static_assert(kSize * Outputs::kMaxFrames < Outputs::kRoom);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < Outputs::kMaxFrames; ++i) {
      ASSERT_FALSE(outputs_->reserve(kSize).empty());
      outputs_->commit(Verdict::host());
    }
    EXPECT_TRUE(outputs_->reserve(1).empty());
    outputs_->clear();
    EXPECT_TRUE(outputs_->frames().empty());
  }
}

TEST(Verdict, SendsIfTheNextHopIsResolvedAndElseAsksForIt) {
  NextHop hop;
  hop.out = InterfaceId{3};
  hop.address = net::IpAddress::v4(net::Be32::from_host(0x0a000002));
  EXPECT_EQ(Verdict::send(hop).kind, Verdict::Kind::kResolve);
  EXPECT_EQ(Verdict::send(hop).next_hop, hop.address);
  hop.resolved = true;
  EXPECT_EQ(Verdict::send(hop).kind, Verdict::Kind::kSend);
  EXPECT_EQ(Verdict::send(hop).out, InterfaceId{3});
}

TEST(DropReason, EveryOneHasALabelOfItsOwnAndAMeaning) {
  std::set<std::string_view> labels(kDropReasonLabels.begin(), kDropReasonLabels.end());
  EXPECT_EQ(labels.size(), kDropReasonCount);
  for (const std::string_view label : kDropReasonLabels) {
    EXPECT_FALSE(label.empty());
    EXPECT_EQ(label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), label.npos)
        << label;
  }
  for (const std::string_view meaning : kDropReasonMeanings) EXPECT_FALSE(meaning.empty());
}

}  // namespace
}  // namespace lb::engine
