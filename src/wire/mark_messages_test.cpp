// SPDX-License-Identifier: Apache-2.0
#include "wire/mark_messages.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <cerrno>

#include "net/bytes.hpp"
#include "wire/arbitrary.hpp"

namespace lb::wire {
namespace {

RC_GTEST_PROP(MarkMessages, RoundTrip,
              (const model::MarkRule& rule, std::uint32_t position, std::uint64_t packets)) {
  RC_ASSERT(model::is_valid(rule));
  const auto added =
      parse_mark_rule_request(*view_message(add_mark_rule_request({}, rule, position)));
  RC_ASSERT(added.has_value());
  RC_ASSERT(added->rule == rule);
  RC_ASSERT(added->position == position);
  const auto deleted = parse_mark_rule_request(*view_message(delete_mark_rule_request({}, rule)));
  RC_ASSERT(deleted.has_value());
  RC_ASSERT(deleted->rule == rule);

  const model::MarkRuleInfo info{.rule = rule, .packets = packets, .bytes = packets / 3};
  std::vector<Message> answer(3);
  encode_mark_rule(answer[0], {}, 0, NLM_F_MULTI, 1, info);
  encode_mark_rule(answer[1], {}, 0, NLM_F_MULTI, 2, {.rule = {}});
  encode_done(answer[2], {}, 0);
  const auto read = read_mark_rules(answer);
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read == (std::vector<model::MarkRuleInfo>{info, {.rule = {}}}));
}

TEST(MarkMessages, ByPositionAlone) {
  const auto asked = parse_mark_rule_request(*view_message(delete_mark_rule_request({}, 3)));
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->position, 3U);
  EXPECT_FALSE(asked->rule.has_value());
  const auto nothing = parse_mark_rule_request(*view_message(flush_mark_rules_request({})));
  EXPECT_EQ(nothing.error().code, EINVAL);
}

// Whatever comes is either refused or a rule that fits together.
void expect_sane(const Message& message) {
  const auto view = view_message(message);
  if (!view) return;
  const auto asked = parse_mark_rule_request(*view);
  if (asked && asked->rule) {
    EXPECT_TRUE(model::is_valid(*asked->rule));
  }
  const std::vector<Message> answer(1, message);
  EXPECT_FALSE(read_mark_rules(answer).has_value());
}

Message full_request() {
  model::MarkRule rule;
  rule.protocol = 6;
  rule.source = {.address = *net::IpAddress::from_text("198.51.100.0"), .length = 24};
  rule.destination = {.address = *net::IpAddress::from_text("192.0.2.10"), .length = 32};
  rule.destination_ports.add({80, 80});
  rule.destination_ports.add({1000, 2000});
  rule.interface = "eth0";
  rule.is_interface_negated = true;
  return add_mark_rule_request({}, rule, 7);
}

TEST(MarkMessages, TruncatedAndChangedRequests) {
  const auto request = full_request();
  for (std::size_t size = sizeof(nlmsghdr); size < request.size(); ++size) {
    Message cut(request.begin(), request.begin() + static_cast<std::ptrdiff_t>(size));
    net::store(std::span<std::byte>(cut), 0, static_cast<std::uint32_t>(size));
    expect_sane(cut);
  }
  for (std::size_t at = sizeof(nlmsghdr); at < request.size(); ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      auto changed = request;
      changed[at] = static_cast<std::byte>(value);
      expect_sane(changed);
    }
  }
}

}  // namespace
}  // namespace lb::wire
