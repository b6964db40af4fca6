// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

#include "model/destination.hpp"
#include "model/service.hpp"
#include "wire/family.hpp"
#include "wire/transport.hpp"

namespace lb::shim {

/// The older interface of IPVS (IP_VS_SO_* of linux/ip_vs.h on an IPv4 socket), in terms of the
/// newer one. IPv4 only, no engine, no tunnel but IPIP; lengths must be exact; the errors are those
/// of the kernel's do_ip_vs_set_ctl and do_ip_vs_get_ctl, found in its order.
class SocketOptions {
 public:
  [[nodiscard]] static bool is_set(int option) noexcept;
  [[nodiscard]] static bool is_get(int option) noexcept;

  /// `context` is of the IPVS family.
  SocketOptions(wire::Transport& transport, const wire::RequestContext& context)
      : transport_(transport), context_(context) {}

  [[nodiscard]] Result<void> set(int option, std::span<const std::byte> value);
  /// `value` holds the question and gets the answer; returns its length.
  [[nodiscard]] Result<socklen_t> get(int option, std::span<std::byte> value);

 private:
  [[nodiscard]] Result<void> command(const wire::Message& request);
  template <class Read>
  auto ask(const wire::Message& request, Read read)
      -> decltype(read(std::span<const wire::Message>()));

  [[nodiscard]] Result<void> set_daemon(int option, std::span<const std::byte> value);
  [[nodiscard]] Result<void> set_service(int option, std::span<const std::byte> value);
  [[nodiscard]] Result<void> get_version(std::span<std::byte> value, socklen_t& length);
  [[nodiscard]] Result<void> get_info(std::span<std::byte> value);
  [[nodiscard]] Result<void> get_services(std::span<std::byte> value);
  [[nodiscard]] Result<void> get_service(std::span<std::byte> value);
  [[nodiscard]] Result<void> get_destinations(std::span<std::byte> value);
  [[nodiscard]] Result<void> get_timeouts(std::span<std::byte> value);
  [[nodiscard]] Result<void> get_daemons(std::span<std::byte> value);

  wire::Transport& transport_;
  wire::RequestContext context_;
};

}  // namespace lb::shim
