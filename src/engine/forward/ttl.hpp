// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "net/parse.hpp"

namespace lb::engine {

/// Takes one from the TTL or hop limit, as a router does; `headers` follow. False, and nothing
/// changed, if it is 0 or 1: then the caller sends an ICMP time exceeded about the packet as it
/// came. IPVS does so itself for requests (from the virtual address); for answers of real
/// servers the host's router does, from the address it has towards the server.
[[nodiscard]] bool decrement_ttl(std::span<std::byte> bytes, net::Headers& headers) noexcept;

/// Adds the address `own` to a record route option (RFC 791, 3.1), as a host does with a packet
/// that was sent to its address `own`. Other options, and broken ones, stay as they are.
void record_ipv4_options(std::span<std::byte> bytes, const net::Headers& headers,
                         const net::IpAddress& own) noexcept;

}  // namespace lb::engine
