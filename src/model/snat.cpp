// SPDX-License-Identifier: Apache-2.0
#include "model/snat.hpp"

#include <algorithm>
#include <string_view>

namespace lb::model {
namespace {

using net::IpAddress;
using Words = std::array<std::uint64_t, 2>;  // high, low

Words words_of(const IpAddress& address) noexcept {
  Words words{};
  for (std::size_t i = 0; i < address.size(); ++i) {
    words[0] = words[0] << 8U | words[1] >> 56U;
    words[1] = words[1] << 8U | address.bytes()[i];
  }
  return words;
}

std::uint32_t capped(const Words& words) noexcept {
  return words[0] != 0 || words[1] > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(words[1]);
}

bool is_name(std::string_view name) noexcept {
  constexpr std::string_view kOthers = "-_.";
  const auto is_allowed = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), is_allowed);
}

bool is_prefix(const PrefixMatch& match) noexcept {
  return !match.is_negated && match.length <= match.address.size() * 8 &&
         match.address.prefix(match.length) == match.address;
}

// The rest of what a pool must not have depends on the network around.
bool is_host_address(const IpAddress& address) noexcept {
  return !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast() &&
         !address.is_loopback() && !address.is_link_local_v6();
}

bool is_translated(net::Family family, std::uint8_t protocol) noexcept {
  switch (static_cast<net::Protocol>(protocol)) {
    case net::Protocol::kIp:
    case net::Protocol::kTcp:
    case net::Protocol::kUdp:
      return true;
    case net::Protocol::kIcmp:
      return family == net::Family::kIpv4;
    case net::Protocol::kIcmpv6:
      return family == net::Family::kIpv6;
    default:
      return false;
  }
}

bool overlap(const AddressRange& a, const AddressRange& b) noexcept {
  return a.first <= b.last && b.first <= a.last;
}

SnatFault pool_fault(const SnatRule& rule) noexcept {
  if (rule.pool_count == 0 || rule.pool_count > SnatRule::kMaxRanges) return SnatFault::kNoPool;
  for (std::size_t i = 0; i < rule.pool_count; ++i) {
    const auto& range = rule.pool[i];
    if (range.first.family() != rule.family || range.last.family() != rule.family) {
      return SnatFault::kFamily;
    }
    if (range.last < range.first) return SnatFault::kPoolRange;
    if (!is_host_address(range.first) || !is_host_address(range.last)) {
      return SnatFault::kPoolAddress;
    }
    const auto same = [&](const AddressRange& other) { return overlap(range, other); };
    if (std::any_of(rule.pool.begin(), rule.pool.begin() + i, same)) {
      return SnatFault::kPoolOverlap;
    }
  }
  return rule.pool_size() > SnatRule::kMaxAddresses ? SnatFault::kPoolTooLarge : SnatFault::kNone;
}

SnatFault static_fault(const SnatRule& rule) noexcept {
  if (rule.pool_count != 1) return SnatFault::kStaticRanges;
  const auto& range = rule.pool[0];
  const auto free_bits = rule.inside.address.size() * 8 - rule.inside.length;
  if (free_bits >= 32 || range.size() != std::uint32_t{1} << free_bits ||
      range.first.prefix(rule.inside.length) != range.first) {
    return SnatFault::kStaticSize;
  }
  return range.first == rule.inside.address ? SnatFault::kStaticSame : SnatFault::kNone;
}

}  // namespace

std::uint32_t AddressRange::size() const noexcept {
  const auto from = words_of(first);
  const auto to = words_of(last);
  const Words more{to[0] - from[0] - (to[1] < from[1] ? 1U : 0U), to[1] - from[1]};
  const auto count = capped(more);
  return count == UINT32_MAX ? count : count + 1;
}

net::IpAddress AddressRange::at(std::uint32_t index) const noexcept {
  auto bytes = first.bytes();
  std::uint64_t carry = index;
  for (std::size_t i = first.size(); i > 0 && carry != 0; --i) {
    carry += bytes[i - 1];
    bytes[i - 1] = static_cast<std::uint8_t>(carry);
    carry >>= 8U;
  }
  const auto wide = IpAddress::v6(bytes);
  return first.is_v4() ? IpAddress::v4(wide.word(0)) : wide;
}

std::uint32_t SnatRule::pool_size() const noexcept {
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(pool_count, kMaxRanges); ++i) {
    size += pool[i].size();
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(size, UINT32_MAX));
}

SnatFault fault_of(const SnatRule& rule) noexcept {
  if (!is_name(rule.name.view())) return SnatFault::kName;
  const bool is_family = rule.family == net::Family::kIpv4 || rule.family == net::Family::kIpv6;
  if (!is_family || rule.inside.address.family() != rule.family ||
      rule.destination.address.family() != rule.family) {
    return SnatFault::kFamily;
  }
  if (!is_prefix(rule.inside)) return SnatFault::kInsidePrefix;
  if (!is_prefix(rule.destination)) return SnatFault::kDestinationPrefix;
  if (!is_translated(rule.family, rule.protocol)) return SnatFault::kProtocol;
  if (const auto fault = pool_fault(rule); fault != SnatFault::kNone) return fault;
  if (rule.has_ports() && (rule.ports.first == 0 || rule.ports.last < rule.ports.first)) {
    return SnatFault::kPorts;
  }
  if (rule.kind == SnatKind::kStatic) {
    if (const auto fault = static_fault(rule); fault != SnatFault::kNone) return fault;
  } else if (rule.kind != SnatKind::kPool) {
    return SnatFault::kStaticRanges;
  }
  const auto& timeouts = rule.timeouts;
  const auto longest =
      std::max({timeouts.tcp, timeouts.tcp_transitory, timeouts.udp, timeouts.icmp});
  return longest > SnatRule::kMaxTimeout ? SnatFault::kTimeout : SnatFault::kNone;
}

std::string_view to_text(SnatFault fault) noexcept {
  switch (fault) {
    case SnatFault::kNone:
      return "nothing is wrong";
    case SnatFault::kName:
      return "a rule needs a name of letters, digits, '-', '_' and '.'";
    case SnatFault::kFamily:
      return "addresses, prefixes and protocol must be of one family";
    case SnatFault::kInsidePrefix:
      return "the inside prefix is too long or has bits beyond its length";
    case SnatFault::kDestinationPrefix:
      return "the destination prefix is too long or has bits beyond its length";
    case SnatFault::kProtocol:
      return "only TCP, UDP and ICMP (for IPv6: ICMPv6) are translated";
    case SnatFault::kNoPool:
      return "a rule needs 1 to 8 ranges of addresses to translate to";
    case SnatFault::kPoolRange:
      return "the last address of a range lies before its first";
    case SnatFault::kPoolAddress:
      return "an address of the pool is none that a host can have";
    case SnatFault::kPoolTooLarge:
      return "a pool has at most 65536 addresses";
    case SnatFault::kPoolOverlap:
      return "ranges of the pool overlap";
    case SnatFault::kPorts:
      return "ports go from 1 to 65535, the first not above the last";
    case SnatFault::kStaticRanges:
      return "a static mapping has one range of addresses";
    case SnatFault::kStaticSize:
      return "a static mapping needs an outside prefix as long as the inside prefix";
    case SnatFault::kStaticSame:
      return "a static mapping of addresses to themselves changes nothing";
    case SnatFault::kTimeout:
      return "a timeout is longer than 21474836 seconds";
  }
  return "an unknown fault";
}

}  // namespace lb::model
