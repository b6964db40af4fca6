// SPDX-License-Identifier: Apache-2.0
#include "daemon/health.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::daemon {
namespace {

using datapath::LogLevel;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class HealthTest : public testing::Test {
 protected:
  bool look(int second) {
    return health_.look({.interfaces = interfaces_,
                         .connections = connections_,
                         .capacity = 1000,
                         .table_full_drops = drops_},
                        Timestamp{seconds(second)});
  }

  static datapath::InterfaceStatus interface(const char* name) {
    datapath::InterfaceStatus status;
    status.name = name;
    status.xdp_mode = "native";
    return status;
  }

  std::vector<datapath::InterfaceStatus> interfaces_{interface("eth0"), interface("eth1")};
  std::uint64_t connections_ = 0;
  std::uint64_t drops_ = 0;
  std::vector<std::string> lines_;
  Health health_{[this](LogLevel, std::string_view line) { lines_.emplace_back(line); }};
};

TEST_F(HealthTest, AllIsWell) {
  EXPECT_FALSE(look(1));
  EXPECT_EQ(health_.text(), "ok");
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(HealthTest, AnInterfaceGoesAndComesBack) {
  interfaces_[1].xdp_mode = "none";
  EXPECT_TRUE(look(1));
  EXPECT_EQ(health_.text(), "degraded: interface eth1 is gone");
  EXPECT_FALSE(look(2));  // told once
  interfaces_[1].xdp_mode = "generic";
  EXPECT_TRUE(look(3));
  EXPECT_THAT(lines_, ElementsAre("health: degraded: interface eth1 is gone", "health: ok"));
}

TEST_F(HealthTest, LostFramesAreRememberedForAMinute) {
  interfaces_[0].receive_drops = 5;
  EXPECT_TRUE(look(1));
  EXPECT_EQ(health_.text(), "degraded: interface eth0 loses frames");
  EXPECT_FALSE(look(60));
  EXPECT_TRUE(look(61));
  EXPECT_EQ(health_.text(), "ok");
  // The counters of an interface that comes back start at 0.
  interfaces_[0].receive_drops = 0;
  EXPECT_FALSE(look(62));
  interfaces_[0].receive_drops = 1;
  EXPECT_TRUE(look(63));
}

TEST_F(HealthTest, TheTableFills) {
  connections_ = 899;
  EXPECT_FALSE(look(1));
  connections_ = 900;
  EXPECT_TRUE(look(2));
  EXPECT_EQ(health_.text(), "degraded: the connection table is nearly full");
}

TEST_F(HealthTest, AFullTableIsWarnedOfOnceAMinute) {
  connections_ = 1000;
  for (int second = 0; second < 59; ++second) {
    drops_ += 100;
    look(second);
  }
  EXPECT_THAT(health_.text(), HasSubstr("table is full"));
  ASSERT_THAT(lines_, SizeIs(2));  // the warning, and the new health
  EXPECT_THAT(lines_[0], HasSubstr("(1000 of 1000): 100 packets of new connections"));
  look(60);
  ASSERT_THAT(lines_, SizeIs(3));
  EXPECT_THAT(lines_[2], HasSubstr("5800 packets"));
}

TEST_F(HealthTest, SeveralReasons) {
  interfaces_[0].xdp_mode = "none";
  connections_ = 1000;
  look(1);
  EXPECT_EQ(health_.text(),
            "degraded: interface eth0 is gone; the connection table is nearly full");
}

}  // namespace
}  // namespace lb::daemon
