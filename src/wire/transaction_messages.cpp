// SPDX-License-Identifier: Apache-2.0
#include "wire/transaction_messages.hpp"

#include <array>
#include <cerrno>

#include "wire/framing.hpp"

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

constexpr std::uint32_t kHighestError = 4095;

}  // namespace

Message begin_transaction_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kBeginTransaction);
}
Message commit_transaction_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kCommitTransaction);
}
Message abort_transaction_request(const RequestContext& context) {
  return make_request(context, SluiceCommand::kAbortTransaction);
}

Result<std::optional<TransactionFailure>> read_transaction_result(std::span<const Message> answer) {
  using Outcome = std::optional<TransactionFailure>;
  return only(read_all<Outcome>(answer, SluiceCommand::kNewTransactionResult,
                                [](const MessageView& view) -> std::optional<Outcome> {
                                  const auto table = open_nest<kTransactionAttribute>(view, kRules);
                                  if (!table) return std::nullopt;
                                  if (!table->has(kError)) return Outcome();
                                  const auto error = table->u32(kError);
                                  if (error == 0 || error > kHighestError) return std::nullopt;
                                  return TransactionFailure{.request = table->u32(kRequest),
                                                            .error = static_cast<int>(error)};
                                }));
}

void encode_transaction_result(Message& out, const MessageView& request, std::uint32_t port_id,
                               const std::optional<TransactionFailure>& failure) {
  put_answer(out, request, port_id, 0, SluiceCommand::kNewTransactionResult,
             nested(kTransactionAttribute, [&](MessageWriter& writer) {
               if (!failure) return;
               writer.put_u32(kRequest, failure->request);
               writer.put_u32(kError, static_cast<std::uint32_t>(failure->error));
             }));
}

}  // namespace lb::wire
