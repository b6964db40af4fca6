// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/snat.hpp"
#include "net/result.hpp"
#include "wire/family.hpp"

/// The rules of source NAT in the SLUICE family.
namespace lb::wire {

/// The attribute that holds a rule, a name or a conflict.
inline constexpr unsigned kSnatAttribute = 32;

// Client.

[[nodiscard]] Message list_snat_rules_request(const RequestContext& context);
/// EINVAL: the rule has a fault; EEXIST: a conflict, which `check_snat_rule_request` tells.
[[nodiscard]] Message add_snat_rule_request(const RequestContext& context,
                                            const model::SnatRule& rule);
/// What keeps the rule from being added; changes nothing.
[[nodiscard]] Message check_snat_rule_request(const RequestContext& context,
                                              const model::SnatRule& rule);
[[nodiscard]] Message delete_snat_rule_request(const RequestContext& context,
                                               const model::Name& name);
[[nodiscard]] Message flush_snat_rules_request(const RequestContext& context);
/// With an empty name the counters of all rules.
[[nodiscard]] Message zero_snat_rules_request(const RequestContext& context,
                                              const model::Name& name = {});
/// The rules in the order in which they are tried.
[[nodiscard]] Result<std::vector<model::SnatRuleInfo>> read_snat_rules(
    std::span<const Message> answer);
/// Of `check_snat_rule_request`; null: the rule can be added.
[[nodiscard]] Result<std::optional<model::SnatConflict>> read_snat_conflict(
    std::span<const Message> answer);

// Director.

/// The rule as it was sent, which may have faults (`model::fault_of`). EINVAL: it is none.
[[nodiscard]] Result<model::SnatRule> parse_snat_rule_request(const MessageView& request);
/// The name in a request to delete or to zero; empty if there is none.
[[nodiscard]] Result<model::Name> parse_snat_name_request(const MessageView& request);
/// Each appends one answer message. `flags`: NLM_F_MULTI in a dump.
void encode_snat_rule(Message& out, const MessageView& request, std::uint32_t port_id,
                      std::uint16_t flags, const model::SnatRuleInfo& info);
void encode_snat_conflict(Message& out, const MessageView& request, std::uint32_t port_id,
                          const std::optional<model::SnatConflict>& conflict);

}  // namespace lb::wire
