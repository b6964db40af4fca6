// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "net/address.hpp"

namespace lb::daemon {

/// The other directors that tables of connections are got from, and given to.
struct SyncPeersOptions {
  static constexpr std::uint16_t kPort = 8849;
  static constexpr std::size_t kMostPeers = 16;
  std::string key_file;  ///< empty: tables are neither asked for nor given
  std::vector<net::IpAddress> peers;
  std::uint16_t port = kPort;  ///< UDP, the same at all
  friend bool operator==(const SyncPeersOptions&, const SyncPeersOptions&) = default;
};

}  // namespace lb::daemon
