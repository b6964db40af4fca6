// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "host/outcome.hpp"

namespace lb::host {

/// A chain of nftables through which packets go at a hook of netfilter; those of iptables-nft are
/// such as well.
struct FirewallChain {
  std::string name;  ///< "inet filter input"
  std::uint32_t hook = 0;
  bool drops_by_default = false;
  std::uint32_t rules = 0;
};

/// Numbers of hooks, as linux/netfilter.h has them for IPv4, IPv6 and inet.
inline constexpr std::uint32_t kHookPrerouting = 0, kHookInput = 1, kHookForward = 2;

/// The base chains of the families ip, ip6 and inet in this network namespace. None if the kernel
/// has no nftables.
[[nodiscard]] Outcome<std::vector<FirewallChain>> firewall_chains();

/// Whether the old iptables (not of nftables) filters IPv4 or IPv6 here.
[[nodiscard]] bool has_legacy_firewall();

}  // namespace lb::host
