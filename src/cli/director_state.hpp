// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "cli/ipvs_client.hpp"
#include "model/destination.hpp"
#include "model/mark_rule.hpp"
#include "model/service.hpp"
#include "model/service_options.hpp"
#include "model/snat.hpp"
#include "wire/sluice_messages.hpp"

/// All that is configured of a director, as a value and as a TOML file (docs/apply.md).
namespace lb::cli {

/// Where something stands in a file; 0: in none.
struct Place {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

/// Compared by content: where it stands says nothing.
struct ServerState {
  model::DestinationSpec spec;
  Place place{};
  friend bool operator==(const ServerState& a, const ServerState& b) { return a.spec == b.spec; }
};

struct ServiceState {
  model::ServiceSpec spec;
  model::ServiceOptions options;
  std::vector<ServerState> servers;
  Place place{};
  friend bool operator==(const ServiceState& a, const ServiceState& b) {
    return a.spec == b.spec && a.options == b.options && a.servers == b.servers;
  }
};

struct DirectorState {
  std::vector<ServiceState> services;
  /// Null: the file says nothing of them, and they stay.
  std::optional<std::vector<model::MarkRule>> mark_rules;
  Place mark_rules_place{};
  /// Null: as with mark rules. By name.
  std::optional<std::vector<model::SnatRule>> snat_rules;
  std::vector<Place> snat_places{};  ///< of each; none: they are in no file
  Place snat_rules_place{};
  std::vector<wire::Setting> settings;  ///< those that the file names
  model::Timeouts timeouts;             ///< 0: the file does not name it
  friend bool operator==(const DirectorState& a, const DirectorState& b) {
    return a.services == b.services && a.mark_rules == b.mark_rules &&
           a.snat_rules == b.snat_rules && a.settings == b.settings && a.timeouts == b.timeouts;
  }
};

/// `spec` without what does not matter (the timeout of a service that is not persistent, ...), so
/// that equal services compare equal.
[[nodiscard]] model::ServiceSpec normalized(model::ServiceSpec spec);
[[nodiscard]] model::DestinationSpec normalized(model::DestinationSpec spec);

/// What the director behind `client` (opened) has. Services and servers are in the order in which
/// they were added.
[[nodiscard]] Result<DirectorState> read_director(IpvsClient& client);

/// Reads a TOML file; `name` is for errors, which are "NAME:LINE:COLUMN: KEY: reason".
[[nodiscard]] tl::expected<DirectorState, std::string> parse_state(std::string_view text,
                                                                   std::string_view name);
/// The file that `parse_state` reads as `state`.
[[nodiscard]] std::string state_text(const DirectorState& state);

}  // namespace lb::cli
