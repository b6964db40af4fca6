// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "model/name.hpp"
#include "net/address.hpp"

namespace lb::model {

enum class SyncRole : std::uint32_t { kMaster = 1, kBackup = 2 };

/// A connection synchronisation daemon as `ipvsadm --start-daemon` describes it. A zero (of
/// `group`: unspecified) leaves the choice to the director.
struct SyncDaemonSpec {
  SyncRole role = SyncRole::kMaster;
  Name interface;
  std::uint32_t sync_id = 0;
  std::uint16_t max_length = 0;  ///< bytes of a UDP payload
  net::IpAddress group;          ///< multicast, IPv4 or IPv6
  std::uint16_t port = 0;
  std::uint8_t ttl = 0;
  friend bool operator==(const SyncDaemonSpec&, const SyncDaemonSpec&) = default;
};

}  // namespace lb::model
