// SPDX-License-Identifier: Apache-2.0
#include "datapath/errands.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <future>
#include <thread>
#include <vector>

namespace lb::datapath {
namespace {

bool is_readable(const Errands& errands, int milliseconds) {
  pollfd waiting{.fd = errands.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, milliseconds) == 1;
}

TEST(Errands, RunElsewhereAndConcludeHere) {
  auto errands = Errands::start();
  ASSERT_TRUE(errands) << errands.error();
  const auto here = std::this_thread::get_id();
  std::vector<int> order;
  for (const int number : {1, 2, 3}) {
    ASSERT_TRUE((*errands)->post([&order, here, number]() -> Errands::Conclusion {
      EXPECT_NE(std::this_thread::get_id(), here);
      return [&order, here, number] {
        EXPECT_EQ(std::this_thread::get_id(), here);
        order.push_back(number);
      };
    }));
  }
  while (order.size() < 3) {
    ASSERT_TRUE(is_readable(**errands, 60'000));
    (*errands)->conclude();
  }
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
  EXPECT_FALSE(is_readable(**errands, 0));
}

TEST(Errands, SomeHaveNothingToConclude) {
  auto errands = Errands::start();
  ASSERT_TRUE(errands) << errands.error();
  std::promise<void> ran;
  ASSERT_TRUE((*errands)->post([&ran]() -> Errands::Conclusion {
    ran.set_value();
    return {};
  }));
  ran.get_future().wait();
  errands->reset();
}

TEST(Errands, OneThatHangsLetsABoundedNumberWait) {
  auto errands = Errands::start();
  ASSERT_TRUE(errands) << errands.error();
  std::promise<void> began;
  std::promise<void> may_end;
  ASSERT_TRUE((*errands)->post([&]() -> Errands::Conclusion {
    began.set_value();
    may_end.get_future().wait();
    return {};
  }));
  began.get_future().wait();
  bool has_run = false;
  const auto note = [&has_run]() -> Errands::Conclusion {
    has_run = true;
    return {};
  };
  for (std::size_t i = 0; i < Errands::kMost; ++i) ASSERT_TRUE((*errands)->post(note));
  EXPECT_FALSE((*errands)->post(note));
  // The end waits for the one that is under way, and gives the others up.
  std::thread ending([&] { errands->reset(); });
  std::this_thread::yield();
  may_end.set_value();
  ending.join();
}

}  // namespace
}  // namespace lb::datapath
