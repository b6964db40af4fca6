// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace lb::wire {

/// Where `sluiced` listens (AF_UNIX, SOCK_SEQPACKET): a name in the abstract name space, hence
/// the leading zero byte. Such names belong to a network namespace, as IPVS does, so each
/// namespace has its own director and a second one fails to bind.
inline constexpr std::string_view kControlSocketName{"\0sluice/ipvs", 12};

}  // namespace lb::wire
