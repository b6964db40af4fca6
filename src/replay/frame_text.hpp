// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace lb::replay {

/// One line for people about an Ethernet frame, much as tcpdump would write it; tunnels and what
/// ICMP errors embed are shown in brackets. Total on any bytes.
[[nodiscard]] std::string describe_frame(std::span<const std::byte> frame);
/// The same about an IP packet.
[[nodiscard]] std::string describe_packet(std::span<const std::byte> packet);
/// Hexadecimal pairs without spaces.
[[nodiscard]] std::string hex_text(std::span<const std::byte> bytes);

}  // namespace lb::replay
