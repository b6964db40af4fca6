// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/destination.hpp"
#include "engine/network_view.hpp"

namespace lb::engine {

/// The way to `address` as the network is now.
[[nodiscard]] CachedRoute look_up_route(const NetworkView& network,
                                        const net::IpAddress& address) noexcept;

/// The way to a destination, looked up anew only when the network has changed.
[[nodiscard]] const CachedRoute& route_of(const NetworkView& network,
                                          Destination& destination) noexcept;

}  // namespace lb::engine
