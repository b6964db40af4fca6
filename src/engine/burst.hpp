// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/endpoint_table.hpp"
#include "engine/network_view.hpp"
#include "net/packet.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// Where a packet's connection will be looked for, as found out ahead of its turn. Stays true
/// whatever happens to connections meanwhile; only a record loaded for it may be the wrong one.
struct Ahead {
  std::uint64_t client_hash = 0;  ///< of the flow's client: the source, or of an answer the other
  EndpointId end = 0;             ///< by which it is filed; 0: nothing was found out
  bool is_answer = false;
};

/// A packet that waits for its turn, with what `Director::prepare` has found out about it.
struct BurstPacket {
  net::Packet packet = {};
  InterfaceId ingress = InterfaceId::kNone;
  net::Parsed headers = tl::unexpected<net::ParseError>(net::ParseError::kNotIp);
  Ahead ahead = {};
};

/// Packets that are worth preparing at once: more, and what was loaded first may be gone again.
inline constexpr std::size_t kBurst = 32;

}  // namespace lb::engine
