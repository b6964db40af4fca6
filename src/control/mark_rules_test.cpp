// SPDX-License-Identifier: Apache-2.0
// Mark rules over the control protocol.
#include <gtest/gtest.h>

#include <cerrno>

#include "control/command_test.hpp"
#include "wire/mark_messages.hpp"

namespace lb::control {
namespace {

class MarkRuleCommands : public CommandTest {
 protected:
  std::vector<std::uint32_t> values() {
    const auto rules =
        wire::read_mark_rules(*transport_.exchange(wire::list_mark_rules_request(context_)));
    EXPECT_TRUE(rules.has_value());
    std::vector<std::uint32_t> result;
    for (const auto& info : *rules) result.push_back(info.rule.value);
    return result;
  }
  static model::MarkRule rule(std::uint32_t value) {
    model::MarkRule rule;
    rule.value = value;
    return rule;
  }
  using Values = std::vector<std::uint32_t>;
};

TEST_F(MarkRuleCommands, AddInsertDeleteFlush) {
  EXPECT_EQ(error(wire::add_mark_rule_request(context_, rule(1))), 0);
  EXPECT_EQ(error(wire::add_mark_rule_request(context_, rule(3))), 0);
  EXPECT_EQ(error(wire::add_mark_rule_request(context_, rule(2), 2)), 0);
  EXPECT_EQ(values(), (Values{1, 2, 3}));
  EXPECT_EQ(error(wire::add_mark_rule_request(context_, rule(9), 5)), E2BIG);
  EXPECT_EQ(error(wire::delete_mark_rule_request(context_, 4)), E2BIG);
  EXPECT_EQ(error(wire::delete_mark_rule_request(context_, rule(9))), ENOENT);
  EXPECT_EQ(error(wire::delete_mark_rule_request(context_, rule(1))), 0);
  EXPECT_EQ(error(wire::delete_mark_rule_request(context_, 2)), 0);
  EXPECT_EQ(values(), Values{2});
  EXPECT_EQ(error(wire::delete_mark_rule_request(context_, 0)), EINVAL);
  EXPECT_EQ(error(wire::flush_mark_rules_request(context_)), 0);
  EXPECT_EQ(values(), Values{});
}

TEST_F(MarkRuleCommands, ManyRulesAreListedInOrder) {
  Values wanted;
  for (std::uint32_t value = 0; value < 3000; ++value) {
    ASSERT_EQ(error(wire::add_mark_rule_request(context_, rule(value))), 0);
    wanted.push_back(value);
  }
  EXPECT_EQ(values(), wanted);
  EXPECT_EQ(error(wire::zero_mark_rules_request(context_)), 0);
}

}  // namespace
}  // namespace lb::control
