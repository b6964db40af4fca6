// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "engine/packet_context.hpp"

namespace lb::engine {

/// What a TCP packet carries behind its header and options; empty if it carries nothing or the
/// header's length lies.
[[nodiscard]] std::string_view tcp_payload(const PacketContext& context) noexcept;

/// True if the packet's TCP checksum is right. It must not be an unfinished one.
[[nodiscard]] bool has_right_checksum(const PacketContext& context) noexcept;

/// Writes `text` in place of `size` bytes at `offset` of a TCP packet's payload, moving what lies
/// behind; lengths and checksums follow, Ethernet padding goes. False, and nothing changed but the
/// padding, if there is no room or the packet would be too long for its length field.
[[nodiscard]] bool replace_payload(PacketContext& context, std::size_t offset, std::size_t size,
                                   std::string_view text) noexcept;

}  // namespace lb::engine
