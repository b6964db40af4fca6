// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "control/test_director.hpp"
#include "wire/family.hpp"

namespace lb::control {

/// A director that is asked in messages of the SLUICE family.
class CommandTest : public testing::Test {
 protected:
  /// The errno that a request is answered with, or 0.
  int error(const wire::Message& request) {
    const auto answer = transport_.exchange(request);
    EXPECT_TRUE(answer.has_value());
    const auto result = wire::outcome(*answer);
    return result ? 0 : result.error().code;
  }

  TestDirector own_;
  RequestHandler handler_{own_.director, nullptr};
  DirectTransport transport_{handler_};
  wire::RequestContext context_{.family = wire::kSluiceFamily};
};

}  // namespace lb::control
