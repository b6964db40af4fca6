// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/verdict.hpp"
#include "net/parse.hpp"

namespace lb::engine {

/// How a reassembled packet came: what cuts it up again on its way out.
struct FragmentShape {
  std::uint16_t largest = 0;                ///< largest fragment as an IP packet; 0: came whole
  std::span<const std::uint16_t> payloads;  ///< bytes of data in each, in order
};

/// Cuts the IPv4 frame into fragments of at most `mtu` bytes (of a reassembled packet: of the sizes
/// that came if they fit, the first grown by what was prepended; else of at most the largest that
/// came) in `outputs`, each with a copy of the frame's link header and
/// `verdict`. DF is the caller's business: it stays as it is in each piece. False if `outputs`
/// has no room (some pieces may be in it already) or `mtu` holds no data.
[[nodiscard]] bool fragment_ipv4(std::span<const std::byte> frame, const net::Headers& headers,
                                 std::uint32_t mtu, const FragmentShape& shape,
                                 const Verdict& verdict, Outputs& outputs) noexcept;

/// Cuts an IPv6 frame that came in fragments (a router never fragments others) into fragments
/// of the same sizes, the first grown by what was prepended (tunnels); if these don't fit `mtu`,
/// into equal ones of the larger of 1280 bytes and the largest fragment that came. Without a
/// shape they are as large as `mtu` lets them.
/// The fragment header goes behind the IPv6 header and its hop-by-hop and routing headers.
[[nodiscard]] bool fragment_ipv6(std::span<const std::byte> frame, const net::Headers& headers,
                                 std::uint32_t mtu, const FragmentShape& shape,
                                 net::Be32 identification, const Verdict& verdict,
                                 Outputs& outputs) noexcept;

}  // namespace lb::engine
