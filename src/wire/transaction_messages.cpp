// SPDX-License-Identifier: Apache-2.0
#include "wire/transaction_messages.hpp"

#include <linux/netlink.h>

#include <array>
#include <cerrno>

#include "wire/ipvs_attributes.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::wire {
namespace {

/// Inside the nest. Numbers are part of the protocol: never reuse one. Empty: all was applied.
enum ResultAttribute : unsigned {
  kRequest = 1,  // u32
  kError,        // u32, an errno
  kResultAttributes,
};

constexpr auto kRules = std::to_array<AttributeRule>({{}, kU32, kU32});
static_assert(kRules.size() == kResultAttributes);

constexpr auto kTopRules = [] {
  std::array<AttributeRule, kTransactionAttribute + 1> rules{};
  rules[kTransactionAttribute] = kNested;
  return rules;
}();

constexpr std::uint32_t kHighestError = 4095;

Message request_message(const RequestContext& context, SluiceCommand command) {
  Message message;
  MessageWriter writer(message);
  writer.begin({.type = context.family,
                .flags = NLM_F_REQUEST | NLM_F_ACK,
                .sequence = context.sequence,
                .port_id = context.port_id,
                .command = static_cast<std::uint8_t>(command)});
  writer.end();
  return message;
}

}  // namespace

Message begin_transaction_request(const RequestContext& context) {
  return request_message(context, SluiceCommand::kBeginTransaction);
}
Message commit_transaction_request(const RequestContext& context) {
  return request_message(context, SluiceCommand::kCommitTransaction);
}
Message abort_transaction_request(const RequestContext& context) {
  return request_message(context, SluiceCommand::kAbortTransaction);
}

Result<std::optional<TransactionFailure>> read_transaction_result(std::span<const Message> answer) {
  if (auto result = outcome(answer); !result) return tl::unexpected(result.error());
  for (const auto& message : answer) {
    const auto view = view_message(message);
    if (!view || !view->has_command) continue;
    const auto top = AttributeTable::parse(view->attributes, kTopRules);
    if (!top || !top->has(kTransactionAttribute)) break;
    const auto table = AttributeTable::parse(top->bytes(kTransactionAttribute), kRules);
    if (!table) break;
    if (!table->has(kError)) return std::nullopt;
    const auto error = table->u32(kError);
    if (error == 0 || error > kHighestError) break;
    return TransactionFailure{.request = table->u32(kRequest), .error = static_cast<int>(error)};
  }
  return failure(EBADMSG);
}

void encode_transaction_result(Message& out, const MessageView& request, std::uint32_t port_id,
                               const std::optional<TransactionFailure>& failure) {
  MessageWriter writer(out);
  writer.begin({.type = kSluiceFamily,
                .flags = 0,
                .sequence = request.header.sequence,
                .port_id = port_id,
                .command = static_cast<std::uint8_t>(SluiceCommand::kNewTransactionResult)});
  const auto nest = writer.begin_nest(kTransactionAttribute);
  if (failure) {
    writer.put_u32(kRequest, failure->request);
    writer.put_u32(kError, static_cast<std::uint32_t>(failure->error));
  }
  writer.end_nest(nest);
  writer.end();
}

}  // namespace lb::wire
