// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "net/result.hpp"
#include "wire/family.hpp"

/// Transactions in the SLUICE family: requests that are applied together or not at all.
///
/// Between begin and commit the director keeps what a client asks to change (and acknowledges that
/// it does), and answers what it asks to read as things are. At commit all is applied, before the
/// next packet, or nothing if one request would fail. A client that leaves gives up its
/// transaction.
namespace lb::wire {

/// The attribute that holds what came of a transaction.
inline constexpr unsigned kTransactionAttribute = 29;

/// Why a transaction was not applied.
struct TransactionFailure {
  std::uint32_t request = 0;  ///< which of the requests failed, counted from 0
  int error = 0;              ///< the errno that it was answered
  friend bool operator==(const TransactionFailure&, const TransactionFailure&) = default;
};

// Client.

/// EBUSY: this client has begun one already.
[[nodiscard]] Message begin_transaction_request(const RequestContext& context);
/// EINVAL: none was begun.
[[nodiscard]] Message commit_transaction_request(const RequestContext& context);
[[nodiscard]] Message abort_transaction_request(const RequestContext& context);
/// What a commit brought; nothing: all was applied.
[[nodiscard]] Result<std::optional<TransactionFailure>> read_transaction_result(
    std::span<const Message> answer);

// Director.

/// Appends the answer to a commit.
void encode_transaction_result(Message& out, const MessageView& request, std::uint32_t port_id,
                               const std::optional<TransactionFailure>& failure);

}  // namespace lb::wire
