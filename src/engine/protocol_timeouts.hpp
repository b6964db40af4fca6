// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "engine/state/sctp.hpp"
#include "engine/state/tcp.hpp"

namespace lb::engine {

/// Seconds that a connection lives without a packet, by protocol and state.
struct ProtocolTimeouts {
  std::array<std::uint32_t, kTcpStateCount> tcp = kTcpDefaultTimeouts;
  std::array<std::uint32_t, kSctpStateCount> sctp = kSctpDefaultTimeouts;
  std::uint32_t udp = 300;
};

}  // namespace lb::engine
