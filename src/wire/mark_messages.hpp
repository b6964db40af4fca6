// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/mark_rule.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// The mark rules in the SLUICE family.
namespace lb::wire {

/// The attribute that holds a rule.
inline constexpr unsigned kMarkRuleAttribute = 27;

/// What a request to add or to delete says.
struct MarkRuleRequest {
  std::uint32_t position = 0;  ///< 0: none
  std::optional<model::MarkRule> rule;
};

// Client.

[[nodiscard]] Message list_mark_rules_request(const RequestContext& context);
/// `position` 0: behind the last.
[[nodiscard]] Message add_mark_rule_request(const RequestContext& context,
                                            const model::MarkRule& rule,
                                            std::uint32_t position = 0);
[[nodiscard]] Message delete_mark_rule_request(const RequestContext& context,
                                               std::uint32_t position);
[[nodiscard]] Message delete_mark_rule_request(const RequestContext& context,
                                               const model::MarkRule& rule);
[[nodiscard]] Message flush_mark_rules_request(const RequestContext& context);
[[nodiscard]] Message zero_mark_rules_request(const RequestContext& context);
/// The rules in order.
[[nodiscard]] Result<std::vector<model::MarkRuleInfo>> read_mark_rules(
    std::span<const Message> answer);

// Director.

/// EINVAL: no rule and no position, or a rule that cannot be one.
[[nodiscard]] Result<MarkRuleRequest> parse_mark_rule_request(const MessageView& request);
/// Appends one answer message. `flags`: NLM_F_MULTI in a dump.
void encode_mark_rule(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, std::uint32_t position, const model::MarkRuleInfo& info);

}  // namespace lb::wire
