// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "net/address.hpp"

namespace lb::net {

/// The name of a protocol as IPVS and its listings have it; `unknown` for one that has none there.
[[nodiscard]] constexpr std::string_view listed_name(Protocol protocol,
                                                     std::string_view unknown) noexcept {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kSctp:
      return "SCTP";
    case Protocol::kIcmp:
      return "ICMP";
    case Protocol::kIcmpv6:
      return "ICMPv6";
    default:
      return unknown;
  }
}

}  // namespace lb::net
