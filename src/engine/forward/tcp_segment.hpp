// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/network_view.hpp"
#include "engine/verdict.hpp"
#include "net/address.hpp"
#include "net/byte_order.hpp"

namespace lb::engine {

/// A TCP segment without data or options.
struct BareSegment {
  net::Endpoint from;
  net::Endpoint to;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgement = 0;
  std::uint8_t flags = 0;  ///< net::kTcp...
};

/// Builds the segment and adds it to `outputs`, addressed to where `to` is reached. False: no
/// route, or `outputs` full. `identification` is of the IPv4 header.
bool send_segment(const BareSegment& segment, net::Be16 identification, const NetworkView& network,
                  Outputs& outputs) noexcept;

}  // namespace lb::engine
