// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "model/mark_rule.hpp"
#include "model/name.hpp"
#include "model/statistics.hpp"
#include "net/address.hpp"

namespace lb::model {

/// Addresses from `first` to `last`, both included, of one family.
struct AddressRange {
  net::IpAddress first;
  net::IpAddress last;
  /// How many there are; 2^32 - 1 if more.
  [[nodiscard]] std::uint32_t size() const noexcept;
  [[nodiscard]] bool holds(const net::IpAddress& address) const noexcept {
    return address.family() == first.family() && first <= address && address <= last;
  }
  /// The address number `index` from `first` on; wraps beyond the family's last.
  [[nodiscard]] net::IpAddress at(std::uint32_t index) const noexcept;
  friend constexpr bool operator==(const AddressRange&, const AddressRange&) = default;
};

enum class SnatKind : std::uint8_t {
  /// Many inside hosts share the addresses of the pool; ports are chosen.
  kPool = 0,
  /// Each inside address has an address of its own outside, by its place in the prefix. Ports stay
  /// as they are, and hosts outside may open connections. With `ports`, of inside hosts only these
  /// are mapped; their other connections are those of other rules.
  kStatic = 1,
};

/// Idle seconds after which a SNAT connection goes; 0: the default.
struct SnatTimeouts {
  std::uint32_t tcp = 0;             ///< established; default 7440 (RFC 5382, REQ-5)
  std::uint32_t tcp_transitory = 0;  ///< opening and closing; default 240 (the same)
  std::uint32_t udp = 0;             ///< default 300 (RFC 4787, REQ-5)
  std::uint32_t icmp = 0;            ///< default 60 (RFC 5508, REQ-2)
  friend constexpr bool operator==(const SnatTimeouts&, const SnatTimeouts&) = default;
};

/// Source NAT for what inside hosts send through the director: which packets, and the addresses
/// that take the place of theirs.
///
/// Of the rules that match a packet the most specific is taken: by the length of the inside prefix,
/// then of the destination prefix, then one with a protocol, then one with an interface. So the
/// order in which rules were added does not matter, and two rules that ask for the same are
/// refused.
struct SnatRule {
  static constexpr std::size_t kMaxRanges = 8;
  /// Addresses of a pool or a static mapping.
  static constexpr std::uint32_t kMaxAddresses = 1U << 16;
  /// With no ports given: from here to 65535 (RFC 6056, 3.2, leaves the well-known ports out).
  static constexpr std::uint16_t kFirstPort = 1024;
  /// Longest timeout, as of services.
  static constexpr std::uint32_t kMaxTimeout = 0x7fffffff / 100;

  Name name;  ///< letters, digits, '-', '_', '.'; what the rule is known by
  net::Family family = net::Family::kIpv4;
  PrefixMatch inside = MarkRule::any(net::Family::kIpv4);       ///< of the source; not negated
  PrefixMatch destination = MarkRule::any(net::Family::kIpv4);  ///< not negated
  Name interface;             ///< that packets leave by; empty: any
  std::uint8_t protocol = 0;  ///< TCP, UDP, ICMP (of IPv6: ICMPv6); 0: these three
  SnatKind kind = SnatKind::kPool;
  std::array<AddressRange, kMaxRanges> pool{};  ///< those beyond `pool_count` are default values
  std::uint8_t pool_count = 0;                  ///< 1 to kMaxRanges; of a static mapping 1
  /// Of a pool: those to choose from. Of a static mapping: those that are mapped.
  /// 0-0: not said. Then a pool takes kFirstPort to 65535 without the range that the host's own
  /// programs get ports from, if the address is the host's; a static mapping takes all.
  /// The identifiers of ICMP echo are taken from the same range.
  PortRange ports;
  std::uint32_t client_limit = 0;  ///< connections of one inside address; 0: no limit
  SnatTimeouts timeouts;

  [[nodiscard]] constexpr bool has_ports() const noexcept {
    return ports.first != 0 || ports.last != 0;
  }
  /// Addresses of all ranges together; 2^32 - 1 if more.
  [[nodiscard]] std::uint32_t pool_size() const noexcept;
  /// False if it is full.
  constexpr bool add(const AddressRange& range) noexcept {
    if (pool_count == kMaxRanges) return false;
    pool[pool_count++] = range;
    return true;
  }
  friend constexpr bool operator==(const SnatRule&, const SnatRule&) = default;
};

/// What is wrong with a rule by itself.
enum class SnatFault : std::uint8_t {
  kNone,
  kName,               ///< empty, or characters that a name may not have
  kFamily,             ///< an address, a prefix, or the protocol is of another family
  kInsidePrefix,       ///< too long, negated, or with bits beyond its length
  kDestinationPrefix,  ///< the same
  kProtocol,           ///< none that is translated
  kNoPool,             ///< no address
  kPoolRange,          ///< the last address lies before the first
  kPoolAddress,        ///< an address that no host can have
  kPoolTooLarge,       ///< more than kMaxAddresses
  kPoolOverlap,        ///< ranges of the pool overlap
  kPorts,              ///< port 0, or the last before the first
  kStaticRanges,       ///< a static mapping has one range
  kStaticSize,         ///< outside, a static mapping has no prefix of the same length
  kStaticSame,         ///< a static mapping maps addresses to themselves
  kTimeout,            ///< longer than kMaxTimeout
};

[[nodiscard]] SnatFault fault_of(const SnatRule& rule) noexcept;
/// What to tell an administrator.
[[nodiscard]] std::string_view to_text(SnatFault fault) noexcept;

/// Why a rule cannot stand beside another one.
enum class SnatConflictKind : std::uint8_t {
  kName,      ///< it has the same name
  kSelector,  ///< it asks for the same packets: neither would be more specific
  kAddress,   ///< a static mapping has an address that the other one has, too
};

struct SnatConflict {
  SnatConflictKind kind = SnatConflictKind::kName;
  Name other;              ///< the rule that is there
  net::IpAddress address;  ///< of kAddress: the first that both have
};

/// Why a new connection was refused.
enum class SnatRefusal : std::uint8_t {
  kNone,
  kPoolExhausted,  ///< no free port at the client's address towards that destination
  kClientLimit,    ///< the client has as many connections as it may
  kTableFull,      ///< the connection table is full
};

/// A rule as listings show it. "In" is what inside hosts send, "out" what they get.
struct SnatRuleInfo {
  SnatRule rule;
  std::uint32_t active_connections = 0;
  std::uint32_t inactive_connections = 0;
  std::uint32_t clients = 0;  ///< inside addresses with connections
  Statistics statistics;
  std::uint64_t refused_pool = 0;  ///< new connections, by SnatRefusal
  std::uint64_t refused_limit = 0;
  std::uint64_t refused_table = 0;
  SnatRefusal last_refusal = SnatRefusal::kNone;
  std::optional<net::IpAddress> last_refused;  ///< the client
  net::Endpoint last_refused_destination;      ///< where it wanted to
};

}  // namespace lb::model
