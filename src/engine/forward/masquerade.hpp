// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "net/address.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// Address and port translation in place. `headers` are those of `bytes` and are kept up to date.
///
/// Checksums are updated by what changed (RFC 1624), so one that was wrong stays wrong by the
/// same amount, as in IPVS. Exceptions: a field that holds only the pseudo-header sum (a packet
/// that left its sender's kernel before its checksum was computed) and a UDP checksum of zero
/// ("none", RFC 768; IPVS gives such packets one) are computed in full; a UDP checksum that
/// becomes zero is written as 0xffff; the CRC32c of SCTP can't be updated, so it is computed
/// anew, and only if the port changes or it was left out.
/// Of fragments other than the first, and of protocols without ports, only addresses change.

/// Sends the packet to `to` (request direction). False, and nothing changed, if the transport
/// header is cut off before its checksum.
[[nodiscard]] bool rewrite_destination(std::span<std::byte> bytes, net::Headers& headers,
                                       const net::Endpoint& to) noexcept;

/// Makes the packet come from `from` (reply direction); otherwise like `rewrite_destination`.
[[nodiscard]] bool rewrite_source(std::span<std::byte> bytes, net::Headers& headers,
                                  const net::Endpoint& from) noexcept;

/// Computes the transport checksum if the field holds only the pseudo-header sum, or, for SCTP,
/// zero: nobody after the director will. True if it did. Call it before a packet is sent on by
/// direct routing or a tunnel; translation does it by itself.
bool complete_checksum(std::span<std::byte> bytes, const net::Headers& headers) noexcept;

}  // namespace lb::engine
