// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "model/name.hpp"
#include "net/address.hpp"

namespace lb::model {

/// Addresses that share their first `length` bits. Length 0 that is not negated is every address.
struct PrefixMatch {
  net::IpAddress address;  ///< the bits beyond `length` are zero
  std::uint8_t length = 0;
  bool is_negated = false;
  friend constexpr bool operator==(const PrefixMatch&, const PrefixMatch&) = default;
};

/// Ports from `first` to `last`, both included.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

/// A set of ports, as many as the multiport match of iptables takes. Empty: not asked for.
struct PortMatch {
  static constexpr std::size_t kMaxRanges = 15;
  std::array<PortRange, kMaxRanges> ranges{};  ///< those beyond `count` are zero
  std::uint8_t count = 0;
  bool is_negated = false;

  [[nodiscard]] constexpr bool is_asked() const noexcept { return count != 0; }
  /// False if it is full.
  constexpr bool add(PortRange range) noexcept {
    if (count == kMaxRanges) return false;
    ranges[count++] = range;
    return true;
  }
  /// True if one of the ranges holds `port`; negation is the caller's.
  [[nodiscard]] constexpr bool holds(std::uint16_t port) const noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      if (ranges[i].first <= port && port <= ranges[i].last) return true;
    }
    return false;
  }
  friend constexpr bool operator==(const PortMatch&, const PortMatch&) = default;
};

/// What a rule does with the packets that it matches.
enum class MarkAction : std::uint8_t {
  kMark = 0,    ///< changes the mark; the next rule follows
  kReturn = 1,  ///< the packet keeps the mark that it has; no further rule is looked at
};

/// A rule that gives packets a firewall mark: what `iptables -t mangle -A PREROUTING ... -j MARK`
/// says of a packet's headers and interface.
///
/// As in iptables a part that is not asked for matches everything, ports are those of TCP, UDP and
/// SCTP only, and a packet without ports (a later fragment) matches no port, negated or not.
struct MarkRule {
  net::Family family = net::Family::kIpv4;
  std::uint8_t protocol = 0;  ///< 0: every protocol
  bool is_protocol_negated = false;
  PrefixMatch source = any(net::Family::kIpv4);
  PrefixMatch destination = any(net::Family::kIpv4);
  PortMatch source_ports;
  PortMatch destination_ports;
  PortMatch either_port;  ///< the source or the destination port
  Name interface;         ///< of arrival; "eth+" is every name with eth in front; empty: any
  bool is_interface_negated = false;
  MarkAction action = MarkAction::kMark;
  /// The new mark is (mark & ~mask) ^ value, as of `--set-xmark value/mask`.
  std::uint32_t value = 0;
  std::uint32_t mask = 0xffffffff;

  [[nodiscard]] static constexpr PrefixMatch any(net::Family of) noexcept {
    return {.address = net::IpAddress::any(of)};
  }
  [[nodiscard]] constexpr bool needs_ports() const noexcept {
    return source_ports.is_asked() || destination_ports.is_asked() || either_port.is_asked();
  }
  [[nodiscard]] constexpr std::uint32_t marked(std::uint32_t mark) const noexcept {
    return action == MarkAction::kMark ? (mark & ~mask) ^ value : mark;
  }
  friend constexpr bool operator==(const MarkRule&, const MarkRule&) = default;
};

/// A rule as listings show it.
struct MarkRuleInfo {
  MarkRule rule;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;  ///< of IP packets
  friend constexpr bool operator==(const MarkRuleInfo&, const MarkRuleInfo&) = default;
};

/// True if the protocol has ports that rules can ask for.
[[nodiscard]] constexpr bool has_ports(std::uint8_t protocol) noexcept {
  return protocol == static_cast<std::uint8_t>(net::Protocol::kTcp) ||
         protocol == static_cast<std::uint8_t>(net::Protocol::kUdp) ||
         protocol == static_cast<std::uint8_t>(net::Protocol::kSctp);
}

/// True if the parts of a rule fit each other.
[[nodiscard]] inline bool is_valid(const MarkRule& rule) noexcept {
  const auto is_prefix = [&](const PrefixMatch& match) {
    return match.address.family() == rule.family && match.length <= match.address.size() * 8 &&
           match.address.prefix(match.length) == match.address;
  };
  const auto is_port_set = [](const PortMatch& match) {
    return match.count <= PortMatch::kMaxRanges && (match.is_asked() || !match.is_negated) &&
           std::all_of(match.ranges.begin(), match.ranges.begin() + match.count,
                       [](const PortRange& range) { return range.first <= range.last; });
  };
  return (rule.family == net::Family::kIpv4 || rule.family == net::Family::kIpv6) &&
         is_prefix(rule.source) && is_prefix(rule.destination) && is_port_set(rule.source_ports) &&
         is_port_set(rule.destination_ports) && is_port_set(rule.either_port) &&
         (rule.protocol != 0 || !rule.is_protocol_negated) &&
         (!rule.interface.empty() || !rule.is_interface_negated) &&
         (!rule.needs_ports() || (has_ports(rule.protocol) && !rule.is_protocol_negated));
}

}  // namespace lb::model
