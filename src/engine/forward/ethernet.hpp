// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "engine/network_view.hpp"
#include "net/address.hpp"

namespace lb::engine {

inline constexpr std::size_t kEthernetSize = 14;

/// Writes MACs and EtherType of the link header that ends at `ip_offset` (at least 14). VLAN tags
/// in the frame stay. The destination MAC is zero while `hop` is unresolved.
void write_ethernet(std::span<std::byte> frame, std::size_t ip_offset, net::Family family,
                    const NextHop& hop) noexcept;

}  // namespace lb::engine
