// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "control/request_handler.hpp"
#include "control/transaction.hpp"
#include "wire/netlink.hpp"
#include "wire/transport.hpp"

namespace lb::control {

/// Asks a handler in the same process: for tests, the replay of recorded cases, and a daemon
/// that loads its rules.
class DirectTransport : public wire::Transport {
 public:
  /// `handler` must outlive the transport.
  explicit DirectTransport(const RequestHandler& handler, std::uint32_t port_id = 0)
      : handler_(handler), port_id_(port_id) {}

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override {
    std::vector<wire::Message> messages;
    std::vector<std::byte> datagram;
    const auto answer = handler_.handle(request, port_id_, &session_);
    while (answer->next(datagram)) {
      std::span<const std::byte> rest = datagram;
      while (const auto message = wire::take_message(rest)) {
        messages.emplace_back(message->bytes.begin(), message->bytes.end());
      }
    }
    return messages;
  }

 private:
  const RequestHandler& handler_;
  std::uint32_t port_id_;
  Session session_;
};

}  // namespace lb::control
