// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace lb::datapath {

/// A TCP or UDP checksum that its sender left to a device: the field holds only the sum over the
/// pseudo-header.
struct PartialChecksum {
  std::uint16_t start;   ///< of the transport header, from the frame's first byte
  std::uint16_t offset;  ///< of the field, from `start`
};

/// Finds out whether the checksum of a frame is partial. Frames between local namespaces are
/// (veth), and nothing but the value tells it; a full checksum that happens to be equal is not
/// harmed by completing it.
[[nodiscard]] std::optional<PartialChecksum> find_partial_checksum(
    std::span<const std::byte> frame) noexcept;

}  // namespace lb::datapath
