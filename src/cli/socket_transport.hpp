// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/socket_name.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// The daemon of this network namespace, over its control socket. Connects at the first
/// exchange and keeps the connection.
///
/// Anybody may bind an abstract name that is free, so the peer must be root's: EACCES if it
/// isn't. ECONNREFUSED: nobody listens. ETIMEDOUT: no answer within half a minute.
class SocketTransport final : public wire::Transport {
 public:
  /// `name` is an abstract name (with its leading zero byte) or a path.
  explicit SocketTransport(std::string_view name = wire::kControlSocketName) : name_(name) {}
  ~SocketTransport() override;
  SocketTransport(const SocketTransport&) = delete;
  SocketTransport& operator=(const SocketTransport&) = delete;

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override;
  [[nodiscard]] std::vector<Result<std::vector<wire::Message>>> exchange_all(
      std::span<const wire::Message> requests) override;

  /// Connects, and has `wait_for_end` wait for the process that is there now.
  [[nodiscard]] Result<void> watch_peer();
  /// Waits until that process has ended. ETIMEDOUT: it runs still.
  [[nodiscard]] Result<void> wait_for_end(std::chrono::milliseconds limit);

 private:
  /// A request that was sent, and what came back.
  struct Waiting {
    std::uint32_t sequence = 0;
    std::uint16_t flags = 0;
    std::vector<wire::Message> answer{};
    bool is_answered = false;
  };
  using Datagram = std::span<const std::byte>;
  /// Requests that are sent before their answers are awaited.
  struct Batch {
    std::vector<std::byte> bytes;
    std::vector<Datagram> datagrams;
    std::vector<Waiting> waiting;
    /// Takes as many of the requests as may go together; returns how many.
    [[nodiscard]] std::size_t take(std::span<const wire::Message> requests);
  };
  [[nodiscard]] Result<void> connect();
  /// Sends datagrams of requests and reads until all of them are answered. The error is for those
  /// that are not.
  [[nodiscard]] Result<void> ask(std::span<const Datagram> datagrams, std::span<Waiting> waiting);
  void close() noexcept;

  std::string name_;
  int socket_ = -1;
  int peer_ = -1;                    ///< a pidfd
  std::vector<std::byte> received_;  ///< one datagram
};

}  // namespace lb::cli
