// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "replay/case_file.hpp"
#include "replay/ip_view.hpp"

namespace lb::replay {

/// A rule that gives packets a firewall mark: the part of iptables that recorded cases use.
struct MarkRule {
  net::Family family = net::Family::kIpv4;
  std::string port;  ///< `-i`; empty: any
  std::optional<InterfaceAddress> destination;
  std::optional<std::uint8_t> protocol;
  std::optional<std::uint16_t> destination_port;
  std::uint32_t mark = 0;

  [[nodiscard]] bool matches(const IpView& ip, std::string_view ingress) const;
};

/// Reads `iptables -t mangle -A PREROUTING [-i IF] [-d ADDRESS] [-p PROTOCOL] [--dport PORT]
/// -j MARK --set-mark N`, or the same with ip6tables. The error names the word that it
/// does not know: a rule half understood would mark the wrong packets.
[[nodiscard]] tl::expected<MarkRule, std::string> parse_mark_rule(const std::string& text);

/// A local route for marked packets (`ip rule` with `ip route add local`).
struct LocalRoute {
  std::uint32_t mark = 0;
  InterfaceAddress destination;
};

/// True if `address` lies in `prefix`.
[[nodiscard]] bool is_in(const net::IpAddress& address, const InterfaceAddress& prefix) noexcept;
/// The words of a command line that has no quotes.
[[nodiscard]] std::vector<std::string> words_of(const std::string& text);

}  // namespace lb::replay
