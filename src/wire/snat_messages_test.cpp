// SPDX-License-Identifier: Apache-2.0
#include "wire/snat_messages.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <rapidcheck/gtest.h>

#include <cerrno>

#include "net/bytes.hpp"
#include "wire/arbitrary.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::wire {
namespace {

RC_GTEST_PROP(SnatMessages, RoundTrip,
              (const model::SnatRule& rule, const model::Statistics& statistics,
               const net::Endpoint& wanted, std::uint32_t number)) {
  RC_ASSERT(model::fault_of(rule) == model::SnatFault::kNone);
  for (const auto& request : {add_snat_rule_request({}, rule), check_snat_rule_request({}, rule)}) {
    const auto asked = parse_snat_rule_request(*view_message(request));
    RC_ASSERT(asked.has_value());
    RC_ASSERT(*asked == rule);
  }
  const model::SnatRuleInfo info{.rule = rule,
                                 .active_connections = number,
                                 .inactive_connections = number / 2,
                                 .clients = number / 3,
                                 .statistics = statistics,
                                 .refused_pool = number,
                                 .refused_limit = number + 1ULL,
                                 .refused_table = number + 2ULL,
                                 .last_refusal = model::SnatRefusal::kClientLimit,
                                 .last_refused = rule.pool[0].first,
                                 .last_refused_destination = wanted};
  std::vector<Message> answer(3);
  encode_snat_rule(answer[0], {}, 0, NLM_F_MULTI, info);
  encode_snat_rule(
      answer[1], {}, 0, NLM_F_MULTI,
      {.rule = rule, .statistics = {}, .last_refused = {}, .last_refused_destination = {}});
  encode_done(answer[2], {}, 0);
  const auto read = read_snat_rules(answer);
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->size() == 2U);
  const auto& first = read->front();
  RC_ASSERT(first.rule == rule);
  RC_ASSERT(first.active_connections == number);
  RC_ASSERT(first.inactive_connections == number / 2);
  RC_ASSERT(first.clients == number / 3);
  RC_ASSERT(first.statistics == statistics);
  RC_ASSERT(first.refused_pool == number);
  RC_ASSERT(first.refused_limit == number + 1ULL);
  RC_ASSERT(first.refused_table == number + 2ULL);
  RC_ASSERT(first.last_refusal == model::SnatRefusal::kClientLimit);
  RC_ASSERT(first.last_refused == rule.pool[0].first);
  RC_ASSERT(first.last_refused_destination == wanted);
  RC_ASSERT(!read->back().last_refused.has_value());
}

TEST(SnatMessages, NamesAndConflicts) {
  const auto deleted = parse_snat_name_request(*view_message(delete_snat_rule_request({}, "out")));
  EXPECT_EQ(deleted->view(), "out");
  EXPECT_TRUE(parse_snat_name_request(*view_message(zero_snat_rules_request({})))->empty());
  EXPECT_EQ(parse_snat_name_request(*view_message(stop_request({}, {}))).error().code, EINVAL);

  const auto request = list_snat_rules_request({});
  const auto view = *view_message(request);
  const auto told = [&](const std::optional<model::SnatConflict>& conflict) {
    std::vector<Message> answer(2);
    encode_snat_conflict(answer[0], {}, 0, conflict);
    encode_error(answer[1], view, 0, 0);
    return read_snat_conflict(answer);
  };
  EXPECT_FALSE(told(std::nullopt).value().has_value());
  const auto address = *net::IpAddress::from_text("2001:db8::7");
  const auto conflict = told(model::SnatConflict{
      .kind = model::SnatConflictKind::kAddress, .other = "web", .address = address});
  ASSERT_TRUE(conflict.has_value() && conflict->has_value());
  EXPECT_EQ((*conflict)->kind, model::SnatConflictKind::kAddress);
  EXPECT_EQ((*conflict)->other.view(), "web");
  EXPECT_EQ((*conflict)->address, address);
  // An acknowledgement alone tells nothing.
  std::vector<Message> answer(1);
  encode_error(answer[0], view, 0, 0);
  EXPECT_EQ(read_snat_conflict(answer).error().code, EBADMSG);
}

// Whatever comes is refused, or a rule whose faults can be told.
void expect_sane(const Message& message) {
  const auto view = view_message(message);
  if (!view) return;
  if (const auto rule = parse_snat_rule_request(*view)) {
    EXPECT_FALSE(model::to_text(model::fault_of(*rule)).empty());
    EXPECT_LE(rule->pool_count, model::SnatRule::kMaxRanges);
  }
  static_cast<void>(parse_snat_name_request(*view));
  std::vector<Message> answer{message, {}};
  encode_done(answer.back(), {}, 0);
  if (const auto rules = read_snat_rules(answer)) {
    for (const auto& info : *rules) {
      EXPECT_EQ(model::fault_of(info.rule), model::SnatFault::kNone);
    }
  }
  static_cast<void>(read_snat_conflict(answer));
}

std::vector<Message> full_messages() {
  model::SnatRule rule;
  rule.name = "office";
  rule.protocol = 6;
  rule.inside = {.address = *net::IpAddress::from_text("10.0.0.0"), .length = 8};
  rule.destination = {.address = *net::IpAddress::from_text("198.51.100.0"), .length = 24};
  rule.interface = "eth0";
  EXPECT_TRUE(
      rule.add({*net::IpAddress::from_text("192.0.2.1"), *net::IpAddress::from_text("192.0.2.4")}));
  EXPECT_TRUE(
      rule.add({*net::IpAddress::from_text("192.0.2.8"), *net::IpAddress::from_text("192.0.2.8")}));
  rule.ports = {1024, 2047};
  rule.client_limit = 7;
  rule.timeouts.udp = 30;
  std::vector<Message> messages{add_snat_rule_request({}, rule), {}, {}};
  encode_snat_rule(messages[1], {}, 0, NLM_F_MULTI,
                   {.rule = rule,
                    .statistics = {},
                    .last_refused = rule.pool[0].first,
                    .last_refused_destination = {.address = rule.pool[0].last, .port = {}}});
  encode_snat_conflict(messages[2], {}, 0,
                       model::SnatConflict{.kind = model::SnatConflictKind::kSelector,
                                           .other = "web",
                                           .address = rule.pool[0].first});
  return messages;
}

TEST(SnatMessages, TruncatedAndChangedMessages) {
  for (const auto& message : full_messages()) {
    for (std::size_t size = sizeof(nlmsghdr); size < message.size(); ++size) {
      Message cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
      net::store(std::span<std::byte>(cut), 0, static_cast<std::uint32_t>(size));
      expect_sane(cut);
    }
    for (std::size_t at = sizeof(nlmsghdr); at < message.size(); ++at) {
      for (unsigned value = 0; value < 256; ++value) {
        auto changed = message;
        changed[at] = static_cast<std::byte>(value);
        expect_sane(changed);
      }
    }
  }
}

}  // namespace
}  // namespace lb::wire
