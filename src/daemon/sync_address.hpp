// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "net/address.hpp"

namespace lb::daemon {

/// An address as the socket interface wants it.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  /// To be written to, by a call that gets `size` too.
  [[nodiscard]] sockaddr* put() { return reinterpret_cast<sockaddr*>(&storage); }
};

/// `interface`: index, for IPv6; 0: none.
[[nodiscard]] inline SocketAddress socket_address(const net::IpAddress& address, std::uint16_t port,
                                                  unsigned interface) {
  SocketAddress result;
  if (address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = address.word(0).to_network();
    std::memcpy(&result.storage, &in, sizeof in);
    result.size = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.bytes().data(), sizeof in.sin6_addr);
    in.sin6_scope_id = interface;
    std::memcpy(&result.storage, &in, sizeof in);
    result.size = sizeof in;
  }
  return result;
}

/// 0.0.0.0 if it is of neither family.
[[nodiscard]] inline net::IpAddress ip_address(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address.storage, sizeof in);
    return net::IpAddress::v4(net::Be32::from_network(in.sin_addr.s_addr));
  }
  if (address.storage.ss_family != AF_INET6) return {};
  sockaddr_in6 in{};
  std::memcpy(&in, &address.storage, sizeof in);
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &in.sin6_addr, sizeof in.sin6_addr);
  return net::IpAddress::v6(bytes);
}

}  // namespace lb::daemon
