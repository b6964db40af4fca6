// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "engine/director.hpp"
#include "engine/host_ports.hpp"
#include "model/snat.hpp"
#include "net/result.hpp"

/// Source NAT: what inside hosts send through the director leaves with an address of a pool, and
/// the answers find back.
///
/// A connection of SNAT is one like those of services, seen from the other side: its client is the
/// server outside, its virtual end is the address and port that took the place of the inside
/// host's, and its real end is the inside host. So packets from inside are answers of a
/// masqueraded server, packets from outside are requests to it, and all that there is for those
/// (tables, states, ICMP errors, fragments, the fast path, what outlives the process) serves both.
///
/// Example: 10.0.0.5:40000 opens 198.51.100.7:443 and leaves as 192.0.2.10:5123. The record is
/// filed under (tcp, 198.51.100.7:443, 192.0.2.10:5123) and, for what comes from inside, under
/// (tcp, 198.51.100.7:443, 10.0.0.5:40000). The first key is what makes a port free or taken: the
/// same port serves any number of connections to different destinations.
namespace lb::engine {

/// Rules that there may be.
inline constexpr std::size_t kMaxSnatRules = 1024;

/// EINVAL: `model::fault_of` tells what is wrong; EEXIST: `snat_conflict` tells with which rule;
/// ENOSPC: too many rules.
[[nodiscard]] Result<void> add_snat_rule(Director& director, const model::SnatRule& rule);
/// Its connections end. ENOENT: there is none of that name.
[[nodiscard]] Result<void> delete_snat_rule(Director& director, const model::Name& name);
void flush_snat_rules(Director& director);
/// Zeroes the counters of a rule. ENOENT.
[[nodiscard]] Result<void> zero_snat_rule(Director& director, const model::Name& name);
/// What keeps a rule without fault from being added beside those that are there.
[[nodiscard]] std::optional<model::SnatConflict> snat_conflict(const Director& director,
                                                               const model::SnatRule& rule);
[[nodiscard]] std::size_t snat_rule_count(const Director& director) noexcept;
[[nodiscard]] std::optional<model::SnatRuleInfo> snat_rule(Director& director,
                                                           const model::Name& name);
/// In the order in which they are tried: IPv4 before IPv6, the most specific first.
[[nodiscard]] std::vector<model::SnatRuleInfo> snat_rules(Director& director);

/// Tells the director which ports the host's own programs use; call it when they may have changed.
void set_host_ports(Director& director, const HostPorts& ports) noexcept;

}  // namespace lb::engine
