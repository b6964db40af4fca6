// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/destination.hpp"
#include "model/service.hpp"
#include "model/sync_daemon.hpp"

namespace lb::cli {

/// What one ipvsadm command line asks for.
enum class CommandKind : std::uint8_t {
  kAddService,
  kEditService,
  kDeleteService,
  kFlush,
  kRestore,
  kSave,
  kList,
  kZero,
  kAddServer,
  kEditServer,
  kDeleteServer,
  kSetTimeouts,
  kStartDaemon,
  kStopDaemon,
};
inline constexpr std::size_t kCommandCount = 14;

/// Options that a command may allow, demand or forbid. The order is the one in which ipvsadm
/// checks them, so it decides which of several mistakes is reported.
enum class Option : std::uint8_t {
  kNumeric,
  kConnection,
  kService,
  kScheduler,
  kPersistent,
  kNetmask,
  kServer,
  kForward,
  kWeight,
  kUpperThreshold,
  kLowerThreshold,
  kMcastInterface,
  kTimeout,
  kDaemon,
  kStats,
  kRate,
  kThresholds,
  kPersistentConn,
  kNoSort,
  kSyncId,
  kExact,
  kOnePacket,
  kPersistenceEngine,
  kSchedulerFlags,
  kMcastGroup,
  kMcastPort,
  kMcastTtl,
  kSyncMaxLength,
  kTunnelInfo,
  kTunnelType,
  kTunnelPort,
  kTunnelNoChecksum,
  kTunnelChecksum,
  kTunnelRemoteChecksum,
};
inline constexpr std::size_t kOptionCount = 34;

/// The options that were given.
class OptionSet {
 public:
  constexpr void insert(Option option) noexcept { bits_ |= bit(option); }
  [[nodiscard]] constexpr bool has(Option option) const noexcept {
    return (bits_ & bit(option)) != 0;
  }

 private:
  static constexpr std::uint64_t bit(Option option) noexcept {
    return std::uint64_t{1} << static_cast<unsigned>(option);
  }
  std::uint64_t bits_ = 0;
};

/// A parsed command line with the defaults of ipvsadm filled in.
struct Command {
  CommandKind kind = CommandKind::kList;
  OptionSet options;
  model::ServiceSpec service = unnamed_service();
  model::DestinationSpec destination;
  model::SyncDaemonSpec daemon;
  model::Timeouts timeouts;

 private:
  /// Commands about a service that is there send no scheduler. Before an option names the
  /// service it has no protocol, and ports in front of it can't be names.
  static model::ServiceSpec unnamed_service() {
    model::ServiceSpec service;
    service.key.protocol = net::Protocol::kIp;
    service.scheduler = "";
    return service;
  }
};

}  // namespace lb::cli
