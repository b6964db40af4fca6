// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "host/outcome.hpp"

/// Kernel settings by their path below /proc/sys ("net/ipv4/conf/eth0/arp_ignore"): a name of an
/// interface may hold dots.
namespace lb::host {

/// The value without blanks at its ends; null if there is no such setting.
[[nodiscard]] std::optional<std::string> read_sysctl(const std::string& path);
/// As a number; null if there is no such setting or it is none.
[[nodiscard]] std::optional<int> read_sysctl_number(const std::string& path);
[[nodiscard]] Outcome<void> write_sysctl(const std::string& path, const std::string& value);

/// CAP_NET_ADMIN or CAP_NET_RAW, whichever this process lacks first; null if it has both.
[[nodiscard]] std::optional<std::string> missing_privilege();

/// A number of the boot, another one after each start of the machine.
[[nodiscard]] std::string boot_id();
/// A number of the network namespace, never used again until the machine starts anew.
[[nodiscard]] Outcome<std::uint64_t> namespace_id();

}  // namespace lb::host
