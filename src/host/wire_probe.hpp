// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <vector>

#include "host/outcome.hpp"
#include "host/rtnetlink.hpp"
#include "net/address.hpp"

namespace lb::host {

/// What to ask for, and how.
struct Question {
  net::IpAddress address;             ///< whose owner is asked for
  std::optional<net::IpAddress> own;  ///< IPv4: this host's address on the link, the sender's
};

/// Asks on `link` by ARP (IPv4) or neighbour discovery (IPv6) who has `question.address` and
/// collects everybody who answers within `wait`, each hardware address once. Asks three times, for
/// a frame can be lost. This host itself does not hear the question, so it is never among them.
/// Tables of the host do not change. Needs CAP_NET_RAW.
[[nodiscard]] Outcome<std::vector<net::Mac>> who_has(const Link& link, const Question& question,
                                                     std::chrono::milliseconds wait);

/// One question of `ask_all` and its answers.
struct Asked {
  Link link;
  Question question;
  Outcome<std::vector<net::Mac>> answers = {};
};

/// `who_has` for each of `all`, many at a time; fills in the answers.
void ask_all(std::vector<Asked>& all, std::chrono::milliseconds wait);

/// An address of `addresses` on `link` of the family of `address`, to ask from; one in whose
/// network `address` lies, if there is one. Never `address` itself.
[[nodiscard]] std::optional<net::IpAddress> own_address(const std::vector<LinkAddress>& addresses,
                                                        const Link& link,
                                                        const net::IpAddress& address);

}  // namespace lb::host
