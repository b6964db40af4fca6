// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "engine/network_view.hpp"

namespace lb::datapath {

/// What a device's driver can do with XDP just now, as the kernel's "netdev" family tells since
/// Linux 6.3; null: it does not tell. For a veth it depends on its peer.
class XdpFeatures {
 public:
  [[nodiscard]] static std::optional<XdpFeatures> of(engine::InterfaceId interface);

  /// Frames that XDP sends out of the device reach their goal (NETDEV_XDP_ACT_NDO_XMIT).
  [[nodiscard]] bool can_send() const noexcept { return (bits_ & (1U << 2U)) != 0; }

 private:
  explicit XdpFeatures(std::uint64_t bits) : bits_(bits) {}
  std::uint64_t bits_;
};

}  // namespace lb::datapath
