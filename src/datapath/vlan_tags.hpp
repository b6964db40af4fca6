// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "net/packet.hpp"

namespace lb::datapath {

/// The VLAN tags between a frame's addresses and its type (802.1Q, 802.1ad), at most two.
///
/// Tags belong to a link. What leaves by the interface that the frame came in by keeps (or gets)
/// them: a server or client of that VLAN is answered there. What leaves by another interface has
/// them taken off; a VLAN device puts its own tag on.
class VlanTags {
 public:
  static constexpr std::size_t kMost = 2;
  static constexpr std::size_t kSize = 4;

  VlanTags() = default;
  /// Reads the tags of a frame; none if it is too short.
  explicit VlanTags(std::span<const std::byte> frame) noexcept;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Takes the frame's tags off.
  static void remove(net::Packet& frame) noexcept;
  /// Puts these tags on a frame without any; false (and unchanged) without headroom.
  [[nodiscard]] bool add_to(net::Packet& frame) const noexcept;

 private:
  std::array<std::byte, kMost * kSize> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace lb::datapath
