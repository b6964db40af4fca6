// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/address.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// ICMP echo, whose identifier is to SNAT what ports are (RFC 5508, 3.1).

/// The identifier of an echo request or reply; null: the packet is none, or cut off before it.
[[nodiscard]] std::optional<net::Port> echo_identifier(std::span<const std::byte> bytes,
                                                       const net::Headers& headers) noexcept;

/// True for a request.
[[nodiscard]] bool is_echo_request(const net::Headers& headers) noexcept;

/// Makes an echo come from (go to) `end`, whose port is the identifier; checksums are updated by
/// what changed, as by `rewrite_source`. False, and nothing changed, if the header is cut off or
/// the packet is of another family.
[[nodiscard]] bool rewrite_echo_source(std::span<std::byte> bytes, net::Headers& headers,
                                       const net::Endpoint& end) noexcept;
[[nodiscard]] bool rewrite_echo_destination(std::span<std::byte> bytes, net::Headers& headers,
                                            const net::Endpoint& end) noexcept;

/// Gives an echo that an ICMP error quotes another identifier; its checksum changes with it and, of
/// IPv6, with the address that will be written next (`was` becomes `will_be`).
void rewrite_quoted_echo(std::span<std::byte> bytes, const net::Headers& quoted,
                         net::Port identifier, const net::IpAddress& was,
                         const net::IpAddress& will_be) noexcept;

}  // namespace lb::engine
