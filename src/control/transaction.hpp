// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/director.hpp"
#include "net/result.hpp"
#include "wire/netlink.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::control {

/// The requests that a client wants applied together, or not at all
/// (wire/transaction_messages.hpp).
///
/// They are rehearsed first, on a director that has just the services that they name: what would
/// fail there changes nothing, not even counters. What fails in spite of that (a full table) is
/// undone; then services that were changed get their configuration back with counters at zero.
class Transaction {
 public:
  /// Of all requests; two hundred thousand rules need half of it.
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

  /// Whether a transaction takes up such a request: one that changes the configuration.
  [[nodiscard]] static bool takes(const wire::MessageView& request) noexcept;
  /// ENOBUFS: too many; EOPNOTSUPP: a request that can't be undone (a sync daemon's).
  [[nodiscard]] Result<void> keep(const wire::MessageView& request);
  /// Applies all, or returns why not.
  [[nodiscard]] std::optional<wire::TransactionFailure> apply(engine::Director& director) const;

 private:
  std::vector<std::byte> requests_;  // whole messages
};

/// What is remembered of one client from request to request.
struct Session {
  std::optional<Transaction> transaction;
};

}  // namespace lb::control
