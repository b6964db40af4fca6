// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lb::replay {

/// The Internet checksum (RFC 1071) of `bytes`, added to `start`, in host order. Written plainly
/// and apart from the engine's own: a replay is to notice when that one is wrong.
[[nodiscard]] std::uint16_t plain_checksum(std::span<const std::byte> bytes,
                                           std::uint32_t start = 0) noexcept;
/// CRC32c as SCTP uses it (RFC 9260, appendix A), in the byte order of the packet's field.
[[nodiscard]] std::uint32_t plain_crc32c(std::span<const std::byte> bytes) noexcept;
/// The sum of the pseudo-header of the packet whose IP header starts at `ip`, for `protocol` and
/// `length` bytes of transport (RFC 9293, 3.1; RFC 8200, 8.1).
[[nodiscard]] std::uint32_t pseudo_header_sum(std::span<const std::byte> ip, std::uint8_t protocol,
                                              std::size_t length) noexcept;

/// Names every layer of an Ethernet frame whose checksum is wrong: "ip", "tcp", "ip>udp" for a
/// tunnelled packet... What cannot be checked (fragments, packets cut off) is taken as right.
[[nodiscard]] std::vector<std::string> wrong_checksums(std::span<const std::byte> frame);

}  // namespace lb::replay
