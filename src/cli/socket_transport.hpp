// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

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

 private:
  [[nodiscard]] Result<void> connect();
  void close() noexcept;

  std::string name_;
  int socket_ = -1;
};

}  // namespace lb::cli
