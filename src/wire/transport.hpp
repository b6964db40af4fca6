// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "net/result.hpp"

namespace lb::wire {

/// One netlink message: header and payload, host byte order as netlink has it.
using Message = std::vector<std::byte>;

/// Carries requests to a director and brings its answers back: a socket to `sluiced`, or a
/// function call in a replay. What uses it cannot tell them apart.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Sends one request message and returns every message of the answer, in order, up to and
  /// including the acknowledgement, the error or the end of the dump. An error that the
  /// director answered is in those messages; a Result error means that it could not be asked
  /// (ECONNREFUSED: no daemon runs here).
  [[nodiscard]] virtual Result<std::vector<Message>> exchange(
      std::span<const std::byte> request) = 0;

  /// Sends requests that are acknowledged, and returns their answers in order. What can, sends
  /// many at once: the director carries them out one after the other all the same.
  [[nodiscard]] virtual std::vector<Result<std::vector<Message>>> exchange_all(
      std::span<const Message> requests) {
    std::vector<Result<std::vector<Message>>> answers;
    answers.reserve(requests.size());
    for (const auto& request : requests) answers.push_back(exchange(request));
    return answers;
  }
};

}  // namespace lb::wire
