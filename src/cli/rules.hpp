// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/destination.hpp"
#include "model/service.hpp"

/// Rules: the command lines that `ipvsadm -S` writes and `ipvsadm -R` reads.
namespace lb::cli {

/// The -A line of a service, the -a line of a destination, with line end.
[[nodiscard]] std::string service_rule(const model::ServiceSpec& spec, bool numeric);
[[nodiscard]] std::string destination_rule(const model::ServiceKey& service,
                                           const model::DestinationSpec& spec, bool numeric);

/// As `destination_rule`, numeric and with the thresholds, which ipvsadm -S leaves out.
[[nodiscard]] std::string whole_destination_rule(const model::ServiceKey& service,
                                                 const model::DestinationSpec& spec);

/// The words of one line of rules, between blanks: quotes mean nothing. Words "ipvsadm" are left
/// out, wherever they stand.
[[nodiscard]] std::vector<std::string> rule_words(std::string_view line);

/// The netmask of a service unless it is the whole address: a mask, or a length for IPv6.
[[nodiscard]] std::optional<std::string> netmask_text(const model::ServiceSpec& spec);

/// The protocol by which ports of a service and its destinations get names; null: they are
/// numbers.
[[nodiscard]] std::optional<net::Protocol> port_names(const model::ServiceKey& key,
                                                      bool numeric) noexcept;

}  // namespace lb::cli
