// SPDX-License-Identifier: Apache-2.0
// The director's synchronisation daemons: starting, stopping, listing. Order of checks, defaults
// and errors follow kernel IPVS (ip_vs_sync.c).
#include <algorithm>
#include <cerrno>

#include "engine/director.hpp"
#include "engine/director_state.hpp"
#include "engine/sync/sync_backup.hpp"
#include "engine/sync/sync_master.hpp"

namespace lb::engine {
namespace {

using model::SyncRole;

constexpr std::uint32_t kDefaultGroup = 0xe0000051;  // 224.0.0.81
constexpr std::uint16_t kDefaultPort = 8848;
constexpr std::uint8_t kDefaultTtl = 1;
constexpr unsigned kMaxPorts = 64;
constexpr std::uint32_t kEthernetMtu = 1500;
constexpr std::uint32_t kLargestPacket = 65535;
constexpr std::uint32_t kLeastReceived = 1024;
constexpr std::uint32_t kHeadersV4 = 20 + 8;
constexpr std::uint32_t kHeadersV6 = 40 + 8;

// A connection that outlived its time because it controls others is told of as one more packet.
class Prolongation : public ProlongationListener {
 public:
  explicit Prolongation(DirectorState& state) : state_(state) {}
  void prolonged(ConnectionId id) noexcept override {
    sync_connection(state_, id, static_cast<std::uint32_t>(state_.settings.sync_threshold));
  }

 private:
  DirectorState& state_;
};

std::uint16_t max_length(const model::SyncDaemonSpec& daemon, std::uint32_t mtu) {
  const auto headers = daemon.group.is_v4() ? kHeadersV4 : kHeadersV6;
  const bool receives = daemon.role == SyncRole::kBackup;
  std::uint32_t length = 0;
  if (daemon.max_length != 0) {
    const std::uint32_t least = receives ? kLeastReceived : 1;
    length = std::clamp<std::uint32_t>(daemon.max_length, least, kLargestPacket - headers);
  } else {
    length = (receives ? std::clamp(mtu, kEthernetMtu, kLargestPacket) : kEthernetMtu) - headers;
  }
  return static_cast<std::uint16_t>(length);
}

bool has_mixed_families(const DirectorState& state) {
  for (const auto* service : state.services.in_order()) {
    for (const auto* destination : service->destinations) {
      if (destination->spec.address.family() != service->key().family) return true;
    }
  }
  return false;
}

bool is_role(SyncRole role) { return role == SyncRole::kMaster || role == SyncRole::kBackup; }

}  // namespace

void Director::set_sync_transport(SyncTransport* transport) noexcept {
  state_->sync.transport = transport;
}

Result<void> Director::start_sync_daemon(const model::SyncDaemonSpec& request) {
  auto& state = *state_;
  auto& sync = state.sync;
  auto daemon = request;
  if (!daemon.group.is_unspecified() && !daemon.group.is_multicast()) return failure(EINVAL);
  if (has_mixed_families(state)) return failure(EINVAL);
  if (daemon.group.is_unspecified()) {
    daemon.group = net::IpAddress::v4(net::Be32::from_host(kDefaultGroup));
  }
  if (daemon.port == 0) daemon.port = kDefaultPort;
  if (daemon.ttl == 0) daemon.ttl = kDefaultTtl;
  const auto* interface = state.network.interface(daemon.interface.view());
  if (interface == nullptr) return failure(ENODEV);
  if (!is_role(daemon.role)) return failure(EINVAL);
  if (sync.of(daemon.role)) return failure(EEXIST);
  if (sync.transport == nullptr) return failure(EOPNOTSUPP);
  daemon.max_length = max_length(daemon, interface->mtu);

  const auto wanted = static_cast<unsigned>(std::max(state.settings.sync_ports, 1));
  const auto ports = sync.is_running() ? sync.ports : std::min(wanted, kMaxPorts);
  if (auto opened = sync.transport->open(
          {.daemon = daemon, .ports = ports, .buffer_size = state.settings.sync_sock_size});
      !opened) {
    return opened;
  }
  sync.ports = ports;
  state.connections.keep_sync_marks();
  if (daemon.role == SyncRole::kMaster) {
    for (unsigned i = 0; i < ports; ++i) {
      sync.queues.push_back(std::make_unique<SyncQueue>(daemon.max_length,
                                                        static_cast<std::uint8_t>(daemon.sync_id)));
    }
    sync.prolongation = std::make_unique<Prolongation>(state);
    state.connections.set_prolongation_listener(sync.prolongation.get());
  }
  sync.of(daemon.role) = daemon;
  return {};
}

Result<void> Director::stop_sync_daemon(SyncRole role) {
  auto& sync = state_->sync;
  if (!is_role(role)) return failure(EINVAL);
  if (!sync.of(role)) return failure(ESRCH);
  sync.of(role).reset();
  if (role == SyncRole::kMaster) {
    state_->connections.set_prolongation_listener(nullptr);
    sync.queues.clear();  // what was not sent is not
  }
  sync.transport->close(role);
  return {};
}

std::vector<model::SyncDaemonSpec> Director::sync_daemons() const {
  std::vector<model::SyncDaemonSpec> running;
  for (const auto& daemon : {state_->sync.master, state_->sync.backup}) {
    if (daemon) running.push_back(*daemon);
  }
  return running;
}

void Director::receive_sync(std::span<const std::byte> message, SyncOrigin origin) noexcept {
  take_sync_message(*state_, message, origin);
}

SyncTablePart Director::write_sync_table(std::uint32_t cursor, std::span<std::byte> room) noexcept {
  return engine::write_sync_table(*state_, cursor, room);
}

const SyncCounters& Director::sync_counters() const noexcept { return state_->sync.counters; }

}  // namespace lb::engine
