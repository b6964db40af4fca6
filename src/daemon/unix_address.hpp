// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace lb::daemon {

/// The address of a Unix socket in the abstract name space (unix(7)).
struct AbstractAddress {
  sockaddr_un address{};
  socklen_t length = 0;

  /// `name` without the leading NUL; longer than fits is cut.
  explicit AbstractAddress(std::string_view name) {
    address.sun_family = AF_UNIX;
    const auto size = std::min(name.size(), sizeof(address.sun_path) - 1);
    std::copy_n(name.begin(), size, address.sun_path + 1);
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
  }

  /// For the socket calls, which take every family by this type.
  [[nodiscard]] const sockaddr* get() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(&address));
  }
};

}  // namespace lb::daemon
