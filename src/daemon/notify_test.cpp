// SPDX-License-Identifier: Apache-2.0
#include "daemon/notify.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace lb::daemon {
namespace {

using std::chrono::microseconds;

class Watchdog : public testing::Test {
 protected:
  void SetUp() override { TearDown(); }
  void TearDown() override {
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
};

TEST_F(Watchdog, NobodyWatches) { EXPECT_FALSE(watchdog_limit()); }

TEST_F(Watchdog, TheLimitIsRead) {
  set("WATCHDOG_USEC", "30000000");
  EXPECT_EQ(watchdog_limit(), microseconds(30'000'000));
  set("WATCHDOG_PID", std::to_string(::getpid()));
  EXPECT_EQ(watchdog_limit(), microseconds(30'000'000));
}

TEST_F(Watchdog, AnotherProcessIsMeant) {
  set("WATCHDOG_USEC", "30000000");
  set("WATCHDOG_PID", std::to_string(::getpid() + 1));
  EXPECT_FALSE(watchdog_limit());
  set("WATCHDOG_PID", "x");
  EXPECT_FALSE(watchdog_limit());
}

TEST_F(Watchdog, NonsenseIsNothing) {
  for (const char* value : {"", "0", "-5", "5s", "99999999999999999999"}) {
    set("WATCHDOG_USEC", value);
    EXPECT_FALSE(watchdog_limit()) << value;
  }
}

}  // namespace
}  // namespace lb::daemon
