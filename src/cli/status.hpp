// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/snat.hpp"
#include "model/sync_daemon.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/transport.hpp"

namespace lb::cli {

/// All that `sluice status` tells of.
struct Overview {
  struct Service {
    model::ServiceInfo info;
    std::vector<model::DestinationInfo> servers;

    [[nodiscard]] std::size_t up() const;  ///< servers with a weight above 0
  };
  wire::Status status;
  std::vector<Service> services;
  std::vector<model::SnatRuleInfo> snat_rules = {};
  std::vector<model::SyncDaemonSpec> sync_daemons;
};

/// How things stand; the values are exit statuses as monitoring plugins have them.
enum class State : std::uint8_t { kOk = 0, kWarning = 1, kCritical = 2, kUnknown = 3 };

struct Judgement {
  State state = State::kOk;
  std::vector<std::string> reasons;  ///< the worst first
};

/// Critical: a served interface is gone, or the connection table is full. Warning: the daemon finds
/// itself degraded, the table is nine tenths full, or a service has no server that takes clients.
[[nodiscard]] Judgement judge(const Overview& overview);

/// What the fast path does, if the director tells it.
struct FastPath {
  std::uint64_t forwarded = 0;  ///< packets that never left XDP
  std::uint64_t punted = 0;     ///< packets that XDP gave to the engine
  [[nodiscard]] double percent() const;
};
[[nodiscard]] std::optional<FastPath> fast_path(const wire::DirectorStatus& director);

/// What XDP decides by itself about new flows, if the director tells it.
struct StandIn {
  bool is_active = false;      ///< in the last seconds
  bool is_table_full = false;  ///< and that because the connection table is nearly full
  std::uint64_t times = 0;     ///< so often it became active since the daemon started
  std::uint64_t packets = 0;   ///< sent on by published tables
  std::uint64_t dropped = 0;   ///< new connections of services without a table
  std::uint64_t tables = 0;    ///< services with a table
};
[[nodiscard]] std::optional<StandIn> stand_in(const wire::DirectorStatus& director);

/// One screen; with `all`, also counters that are zero.
[[nodiscard]] std::string status_text(const Overview& overview, bool all);
/// The same, complete, as a JSON object.
[[nodiscard]] std::string status_json(const Overview& overview);

/// `sluice status [--json] [--all]`. Exit status: a `State`.
[[nodiscard]] ProgramResult run_status(std::span<const std::string> options,
                                       wire::Transport& transport);

}  // namespace lb::cli
