// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "net/address.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// True for the ICMP errors that IPVS relates to a connection by the packet they quote: IPv4
/// unreachable, source quench and time exceeded; of ICMPv6 every error. Others (IPv4 parameter
/// problem, redirect) go the host's way.
[[nodiscard]] bool is_related_icmp(const net::Headers& headers) noexcept;

/// The quoted packet starts here.
[[nodiscard]] inline std::size_t embedded_offset(const net::Headers& icmp) noexcept {
  return icmp.transport_offset + std::size_t{8};
}

/// True if the ICMP checksum is right; fragments never are.
[[nodiscard]] bool icmp_checksum_holds(std::span<const std::byte> bytes,
                                       const net::Headers& headers) noexcept;

/// An error about an answer of a masqueraded server (quoted packet from the virtual end) goes to
/// the server: outer destination and quoted source become `destination`. `headers` follow; the ICMP
/// checksum and that of a quoted IPv4 header are computed anew, the quoted transport checksum
/// stays. False, and nothing changed, if the quote has no ports where it must.
[[nodiscard]] bool translate_icmp_to_server(std::span<std::byte> bytes, net::Headers& headers,
                                            const net::Headers& embedded,
                                            const net::Endpoint& destination) noexcept;

/// An error from the server's side about a client's packet goes to the client as from the virtual
/// end: outer source (even if a router sent it) and quoted destination become `virtual_end`.
[[nodiscard]] bool translate_icmp_to_client(std::span<std::byte> bytes, net::Headers& headers,
                                            const net::Headers& embedded,
                                            const net::Endpoint& virtual_end) noexcept;

}  // namespace lb::engine
