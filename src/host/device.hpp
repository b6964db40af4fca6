// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "host/outcome.hpp"

/// What drivers of interfaces can do and do.
namespace lb::host {

/// Bits of the driver's XDP abilities, as the netdev family of generic netlink has them.
enum XdpAbility : std::uint64_t {
  kXdpBasic = 1U << 0U,     ///< runs programs itself ("native")
  kXdpRedirect = 1U << 1U,  ///< redirects, as AF_XDP needs
  kXdpTransmit = 1U << 2U,  ///< takes frames that others redirect to it
  kXdpZeroCopy = 1U << 3U,
};

/// The driver's name; empty if it has none.
[[nodiscard]] std::string driver_of(const std::string& interface);

/// XDP abilities by the index of the interface. Empty before Linux 6.3, which can't tell.
[[nodiscard]] Outcome<std::map<int, std::uint64_t>> xdp_abilities();

/// Major and minor version of the kernel, as 1000 * major + minor; 0 if it can't be told.
[[nodiscard]] int kernel_version();

}  // namespace lb::host
