// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "doctor/facts.hpp"
#include "doctor/options.hpp"
#include "host/outcome.hpp"
#include "host/rtnetlink.hpp"
#include "wire/transport.hpp"

/// Reads the facts from the machine. Each error is a sentence.
namespace lb::doctor {

/// Links, addresses, routes, drivers, firewall.
[[nodiscard]] host::Outcome<Facts> gather_host(host::Rtnetlink& kernel);

/// What the host is as a real server, if anything says that it is one: the options, `sluice
/// realserver up`, or (where no director runs) addresses on lo.
[[nodiscard]] host::Outcome<void> gather_server(const Options& options, Facts& facts);

/// Asks the director behind `transport`, and on the wire for its real servers and addresses.
/// Nothing is gathered if none runs.
[[nodiscard]] host::Outcome<void> gather_director(wire::Transport& transport,
                                                  host::Rtnetlink& kernel, Facts& facts);

/// Routes of SNAT rules, and who answers for the first addresses of their pools.
[[nodiscard]] host::Outcome<void> gather_snat(const std::vector<model::SnatRuleInfo>& rules,
                                              host::Rtnetlink& kernel, Facts& facts,
                                              DirectorFacts& director);

/// Asks on the wire who has each of `vips`, on each of `links` (indices). The answers are added.
[[nodiscard]] host::Outcome<void> ask_for_vips(const std::vector<net::IpAddress>& vips,
                                               const std::vector<int>& links, Facts& facts);

}  // namespace lb::doctor
