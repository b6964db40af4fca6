// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "model/connection.hpp"
#include "wire/ipvs_client.hpp"

/// What `ipvsadm -L` and `-S` print, as text.
namespace lb::cli {

/// The columns of a service table; ipvsadm lets the first of several options win.
enum class TableKind : std::uint8_t {
  kPlain,
  kStats,
  kRate,
  kThresholds,
  kPersistentConn,
  kTunnelInfo,
  kRules,  ///< -S: command lines
};

struct Format {
  TableKind kind = TableKind::kPlain;
  bool numeric = false;  ///< ports as numbers
  bool exact = false;    ///< counters in full
  bool sorted = true;
};
[[nodiscard]] Format format_of(const OptionSet& options);

/// Brings services or destinations into the order in which ipvsadm lists them.
void sort_for_listing(std::vector<model::ServiceInfo>& services);
void sort_for_listing(std::vector<model::DestinationInfo>& destinations);

/// "IP Virtual Server version 1.2.1 (size=4096)"
[[nodiscard]] std::string banner_text(const wire::DirectorInfo& info);
/// "1.2.1"
[[nodiscard]] std::string version_text(std::uint32_t version);

/// The two lines of column titles; none for rules.
[[nodiscard]] std::string header_text(const Format& format);
[[nodiscard]] std::string service_text(const model::ServiceInfo& service, const Format& format);
[[nodiscard]] std::string destination_text(const model::ServiceKey& service,
                                           const model::DestinationInfo& destination,
                                           const Format& format);

/// `with_snat`: a column more in lines of source NAT, with the rule.
[[nodiscard]] std::string connections_text(std::span<const model::ConnectionInfo> connections,
                                           const OptionSet& options, bool with_snat = false);
[[nodiscard]] std::string timeouts_text(const model::Timeouts& timeouts);
[[nodiscard]] std::string daemons_text(std::span<const model::SyncDaemonSpec> daemons);

}  // namespace lb::cli
