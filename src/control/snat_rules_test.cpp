// SPDX-License-Identifier: Apache-2.0
// Rules of source NAT over the control protocol.
#include <gtest/gtest.h>

#include <cerrno>

#include "control/command_test.hpp"
#include "control/transaction.hpp"
#include "wire/snat_messages.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::control {
namespace {

net::IpAddress ip(const std::string& text) { return *net::IpAddress::from_text(text); }

class SnatCommands : public CommandTest {
 protected:
  std::string names() {
    const auto rules =
        wire::read_snat_rules(*transport_.exchange(wire::list_snat_rules_request(context_)));
    EXPECT_TRUE(rules.has_value());
    std::string all;
    for (const auto& info : *rules)
      all += (all.empty() ? "" : " ") + std::string(info.rule.name.view());
    return all;
  }
  std::optional<model::SnatConflict> conflict(const model::SnatRule& rule) {
    return wire::read_snat_conflict(
               *transport_.exchange(wire::check_snat_rule_request(context_, rule)))
        .value();
  }
  /// Inside hosts 10.NUMBER.0.0/16 leave with 192.0.2.NUMBER.
  static model::SnatRule rule(const std::string& name, int number) {
    model::SnatRule rule;
    rule.name = std::string_view(name);
    rule.inside = {.address = ip("10." + std::to_string(number) + ".0.0"), .length = 16};
    const auto outside = ip("192.0.2." + std::to_string(number));
    EXPECT_TRUE(rule.add({.first = outside, .last = outside}));
    return rule;
  }
};

TEST_F(SnatCommands, AddListDeleteFlush) {
  EXPECT_EQ(names(), "");
  EXPECT_EQ(error(wire::add_snat_rule_request(context_, rule("one", 1))), 0);
  auto specific = rule("two", 1);
  specific.inside.length = 24;
  EXPECT_EQ(error(wire::add_snat_rule_request(context_, specific)), 0);
  EXPECT_EQ(names(), "two one");  // the most specific first
  EXPECT_EQ(error(wire::zero_snat_rules_request(context_)), 0);
  EXPECT_EQ(error(wire::zero_snat_rules_request(context_, "one")), 0);
  EXPECT_EQ(error(wire::zero_snat_rules_request(context_, "none")), ENOENT);
  EXPECT_EQ(error(wire::delete_snat_rule_request(context_, "none")), ENOENT);
  EXPECT_EQ(error(wire::delete_snat_rule_request(context_, "two")), 0);
  EXPECT_EQ(names(), "one");
  EXPECT_EQ(error(wire::flush_snat_rules_request(context_)), 0);
  EXPECT_EQ(names(), "");
}

TEST_F(SnatCommands, ConflictsAndFaults) {
  ASSERT_EQ(error(wire::add_snat_rule_request(context_, rule("one", 1))), 0);
  EXPECT_FALSE(conflict(rule("two", 2)));
  EXPECT_EQ(names(), "one");  // a check adds nothing
  EXPECT_EQ(error(wire::add_snat_rule_request(context_, rule("one", 2))), EEXIST);
  EXPECT_EQ(conflict(rule("one", 2))->kind, model::SnatConflictKind::kName);
  EXPECT_EQ(error(wire::add_snat_rule_request(context_, rule("two", 1))), EEXIST);
  EXPECT_EQ(conflict(rule("two", 1))->kind, model::SnatConflictKind::kSelector);
  EXPECT_EQ(conflict(rule("two", 1))->other.view(), "one");
  auto wrong = rule("two", 2);
  wrong.protocol = 132;
  EXPECT_EQ(error(wire::add_snat_rule_request(context_, wrong)), EINVAL);
  EXPECT_EQ(error(wire::check_snat_rule_request(context_, wrong)), EINVAL);
}

TEST_F(SnatCommands, TogetherOrNotAtAll) {
  ASSERT_EQ(error(wire::add_snat_rule_request(context_, rule("one", 1))), 0);
  auto& client = transport_;
  const auto ask = [&](const wire::Message& request) {
    return wire::outcome(*client.exchange(request)).has_value();
  };
  const auto commit = [&] {
    return wire::read_transaction_result(
               *client.exchange(wire::commit_transaction_request(context_)))
        .value();
  };
  ASSERT_TRUE(ask(wire::begin_transaction_request(context_)));
  ASSERT_TRUE(ask(wire::flush_snat_rules_request(context_)));
  ASSERT_TRUE(ask(wire::add_snat_rule_request(context_, rule("two", 1))));
  ASSERT_TRUE(ask(wire::add_snat_rule_request(context_, rule("three", 1))));
  EXPECT_EQ(commit(), (wire::TransactionFailure{.request = 2, .error = EEXIST}));
  EXPECT_EQ(names(), "one");
  // The rehearsal knows the rules that are there.
  ASSERT_TRUE(ask(wire::begin_transaction_request(context_)));
  ASSERT_TRUE(ask(wire::add_snat_rule_request(context_, rule("two", 1))));
  EXPECT_EQ(commit(), (wire::TransactionFailure{.request = 0, .error = EEXIST}));
  ASSERT_TRUE(ask(wire::begin_transaction_request(context_)));
  ASSERT_TRUE(ask(wire::delete_snat_rule_request(context_, "one")));
  ASSERT_TRUE(ask(wire::add_snat_rule_request(context_, rule("two", 1))));
  EXPECT_EQ(names(), "one");
  EXPECT_EQ(commit(), std::nullopt);
  EXPECT_EQ(names(), "two");
}

}  // namespace
}  // namespace lb::control
