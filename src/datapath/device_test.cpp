// SPDX-License-Identifier: Apache-2.0
#include "datapath/device.hpp"

#include <gtest/gtest.h>

namespace lb::datapath {
namespace {

TEST(XdpSendCounts, ADeviceThatDeliversNothingIsToldFromOneThatHasTooMuch) {
  const XdpSendCounts before{.sent = 1000, .errors = 10};
  EXPECT_TRUE((XdpSendCounts{.sent = 1000, .errors = 11}.delivers_none(before)));
  EXPECT_TRUE((XdpSendCounts{.sent = 1005, .errors = 110}.delivers_none(before)));
  EXPECT_FALSE((XdpSendCounts{.sent = 1000, .errors = 10}.delivers_none(before)));
  EXPECT_FALSE((XdpSendCounts{.sent = 1900, .errors = 1000}.delivers_none(before)));
  EXPECT_FALSE((XdpSendCounts{.sent = 2000, .errors = 11}.delivers_none(before)));
  // Counted anew since: the device came back.
  EXPECT_FALSE((XdpSendCounts{.sent = 0, .errors = 5}.delivers_none(before)));
}

}  // namespace
}  // namespace lb::datapath
