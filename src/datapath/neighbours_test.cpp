// SPDX-License-Identifier: Apache-2.0
#include "datapath/neighbours.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace lb::datapath {
namespace {

using engine::InterfaceId;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr InterfaceId kOut{3};
constexpr net::Mac kMac{{2, 0, 0, 0, 0, 9}};

net::IpAddress address(std::string_view text) { return net::IpAddress::from_text(text).value(); }

class NeighboursTest : public ::testing::Test {
 protected:
  struct Released {
    std::uint64_t chunk;
    bool is_resolved;
  };
  bool hold(std::string_view next_hop, std::uint64_t chunk) {
    return neighbours_.hold(kOut, address(next_hop), {.chunk = chunk, .offset = 0, .length = 60},
                            now_);
  }
  void resolved(std::string_view next_hop) {
    neighbours_.changed(
        {.interface = kOut, .address = address(next_hop), .mac = kMac, .failed = false});
  }
  void pass(Duration time) {
    now_ = now_ + time;
    neighbours_.advance(now_);
  }

  Timestamp now_{seconds(100)};
  std::vector<net::IpAddress> asked_;
  std::vector<Released> released_;
  Neighbours neighbours_{
      [this](InterfaceId, const net::IpAddress& next_hop) { asked_.push_back(next_hop); },
      [this](InterfaceId out, Frame frame, const net::Mac* mac) {
        EXPECT_EQ(out, kOut);
        released_.push_back({.chunk = frame.chunk, .is_resolved = mac != nullptr});
      }};
};

TEST_F(NeighboursTest, FramesLeaveInOrderWhenTheNextHopIsResolved) {
  ASSERT_TRUE(hold("10.0.0.2", 1));
  ASSERT_TRUE(hold("10.0.0.3", 2));
  ASSERT_TRUE(hold("10.0.0.2", 3));
  EXPECT_THAT(asked_, ::testing::ElementsAre(address("10.0.0.2"), address("10.0.0.3")));
  resolved("10.0.0.2");
  ASSERT_EQ(released_.size(), 2U);
  EXPECT_EQ(released_[0].chunk, 1U);
  EXPECT_EQ(released_[1].chunk, 3U);
  EXPECT_TRUE(released_[1].is_resolved);
  EXPECT_EQ(neighbours_.waiting(), 1U);
}

TEST_F(NeighboursTest, FramesAreGivenUpInTime) {
  ASSERT_TRUE(hold("10.0.0.2", 1));
  pass(milliseconds(2900));
  ASSERT_TRUE(hold("10.0.0.2", 2));
  EXPECT_TRUE(released_.empty());
  pass(milliseconds(100));
  ASSERT_EQ(released_.size(), 1U);
  EXPECT_EQ(released_[0].chunk, 1U);
  EXPECT_FALSE(released_[0].is_resolved);
}

TEST_F(NeighboursTest, FramesAreGivenUpWhenTheKernelGivesUpOrTheInterfaceIsGone) {
  ASSERT_TRUE(hold("10.0.0.2", 1));
  neighbours_.changed(
      {.interface = kOut, .address = address("10.0.0.2"), .mac = std::nullopt, .failed = true});
  ASSERT_TRUE(hold("10.0.0.3", 2));
  neighbours_.interface_gone(kOut);
  ASSERT_EQ(released_.size(), 2U);
  EXPECT_FALSE(released_[0].is_resolved);
  EXPECT_FALSE(released_[1].is_resolved);
  EXPECT_EQ(neighbours_.waiting(), 0U);
}

TEST_F(NeighboursTest, EachNextHopAndAllTogetherAreBounded) {
  std::uint64_t held = 0;
  for (std::uint32_t i = 0; i < 2 * Neighbours::kMaxWaitingEach; ++i) {
    held += hold("10.0.0.2", i) ? 1U : 0U;
  }
  EXPECT_EQ(held, Neighbours::kMaxWaitingEach);
  for (std::uint32_t i = 0; i < 2 * Neighbours::kMaxWaiting; ++i) {
    held += hold("10.0.1." + std::to_string(i % 200), i) ? 1U : 0U;
  }
  EXPECT_EQ(held, Neighbours::kMaxWaiting);
  EXPECT_EQ(neighbours_.waiting(), Neighbours::kMaxWaiting);
}

TEST_F(NeighboursTest, NextHopsInUseAreToldAgainAndIdleOnesForgotten) {
  for (int i = 0; i < 12; ++i) {
    neighbours_.note_use(kOut, address("2001:db8::2"), now_);
    pass(seconds(1));
  }
  EXPECT_EQ(asked_.size(), 2U) << "every five seconds";
  const auto told = asked_.size();
  pass(seconds(10));
  const auto last = asked_.size();
  EXPECT_LE(last, told + 1) << "once for the use since it was told";
  pass(seconds(30));
  pass(seconds(60));
  EXPECT_EQ(asked_.size(), last);
}

}  // namespace
}  // namespace lb::datapath
