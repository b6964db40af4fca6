// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_peers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/event.hpp"
#include "daemon/file_descriptor.hpp"
#include "daemon/log.hpp"
#include "daemon/sync_address.hpp"
#include "daemon/sync_table_client.hpp"
#include "daemon/sync_table_server.hpp"

namespace lb::daemon {
namespace {

constexpr timeval kTick{.tv_sec = 0, .tv_usec = 100'000};
// Datagrams read before other work gets its turn.
constexpr int kBurst = 8;
constexpr int kBufferSize = 1 << 20;

tl::unexpected<std::string> error(std::string message) {
  return tl::unexpected(std::move(message));
}

template <class Value>
Value random_value() {
  Value value{};
  // Cannot fail for so few bytes once the system has randomness (getrandom(2)), which the daemon
  // waited for when it made its hash key.
  (void)::getrandom(&value, sizeof value, 0);
  return value;
}

bool runs(const engine::Director& director, model::SyncRole role) {
  const auto running = director.sync_daemons();
  return std::any_of(running.begin(), running.end(),
                     [&](const auto& daemon) { return daemon.role == role; });
}

class Master : public TableSource {
 public:
  explicit Master(const SyncPeers::Daemon& daemon) : daemon_(daemon) {}
  TableState state() override {
    const auto& counters = daemon_.director.sync_counters();
    return {.is_master = runs(daemon_.director, model::SyncRole::kMaster),
            .messages_sent = counters.messages_sent + counters.messages_lost,
            .source = daemon_.group.source()};
  }
  engine::SyncTablePart part(std::uint32_t cursor, std::span<std::byte> room) override {
    return daemon_.director.write_sync_table(cursor, room);
  }

 private:
  const SyncPeers::Daemon& daemon_;
};

class Backup : public TableSink {
 public:
  explicit Backup(const SyncPeers::Daemon& daemon) : daemon_(daemon) {}
  bool is_backup() override { return runs(daemon_.director, model::SyncRole::kBackup); }
  void take(std::span<const std::byte> message) override { daemon_.take(message); }
  std::uint64_t received_from(const net::IpAddress& source) override {
    return daemon_.group.received_from(source);
  }

 private:
  const SyncPeers::Daemon& daemon_;
};

struct Peer {
  net::IpAddress address;
  SyncTableServer server;
  SyncTableClient client;
};

}  // namespace

tl::expected<TableKey, std::string> read_table_key(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return error(
        fmt::format("cannot read the key of the sync peers, {}: {}", path, std::strerror(errno)));
  }
  if (!S_ISREG(status.st_mode) || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return error(
        fmt::format("the key of the sync peers, {}, must be a file that only its owner "
                    "may use (chmod 600)",
                    path));
  }
  std::array<std::byte, TableKey::kMost + 1> bytes;
  std::size_t size = 0;
  while (size < bytes.size()) {
    const auto got = ::read(fd.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0) return error(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  const auto is_space = [](std::byte b) {
    return b == std::byte{' '} || (b >= std::byte{'\t'} && b <= std::byte{'\r'});
  };
  while (size != 0 && is_space(bytes[size - 1])) --size;
  if (size < TableKey::kLeast || size > TableKey::kMost) {
    return error(
        fmt::format("the key of the sync peers, {}, must have {} to {} bytes (make one "
                    "with: openssl rand -hex 32)",
                    path, TableKey::kLeast, TableKey::kMost));
  }
  return TableKey(std::span(bytes).first(size));
}

struct SyncPeers::State {
  State(const SyncPeersOptions& options, TableKey secret, Daemon lent)
      : daemon(std::move(lent)), port(options.port), key(std::move(secret)) {}

  Daemon daemon;
  std::uint16_t port;
  TableKey key;
  std::uint64_t instance = random_value<std::uint64_t>();
  Master master{daemon};
  Backup backup{daemon};
  std::vector<std::unique_ptr<Peer>> peers;
  FileDescriptor v4;
  FileDescriptor v6;
  EventPtr readable4, readable6, tick;  // go before the descriptors
  std::uint64_t rejected = 0;

  void add(const net::IpAddress& address);
  [[nodiscard]] tl::expected<void, std::string> open(bool is_v4);
  void send(const net::IpAddress& to, std::span<const std::byte> datagram);
  void read(int fd);
  [[nodiscard]] bool take(const net::IpAddress& from, std::span<const std::byte> datagram);
};

void SyncPeers::State::add(const net::IpAddress& address) {
  const auto to_peer = [this, address](std::span<const std::byte> datagram) {
    send(address, datagram);
  };
  peers.push_back(std::make_unique<Peer>(
      Peer{.address = address,
           .server = {instance, key, master, to_peer, random_value<TableNonce>},
           .client = {instance, key, backup, to_peer, random_value<TableNonce>}}));
}

tl::expected<void, std::string> SyncPeers::State::open(bool is_v4) {
  FileDescriptor fd(
      ::socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  const auto own =
      socket_address(net::IpAddress::any(is_v4 ? net::Family::kIpv4 : net::Family::kIpv6), port, 0);
  if (!fd || (!is_v4 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
      ::bind(fd.get(), own.get(), own.size) != 0) {
    return error(
        fmt::format("cannot use UDP port {} for the sync peers: {}", port, std::strerror(errno)));
  }
  // Less will do, with questions asked again.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kBufferSize, sizeof kBufferSize);
  const auto on_readable = [](evutil_socket_t socket, short, void* who) {
    static_cast<State*>(who)->read(socket);
  };
  auto& readable = is_v4 ? readable4 : readable6;
  readable.reset(event_new(daemon.base, fd.get(), EV_READ | EV_PERSIST, on_readable, this));
  if (!readable || event_add(readable.get(), nullptr) != 0) {
    return error("cannot wait for sync peers: the event loop refuses");
  }
  (is_v4 ? v4 : v6) = std::move(fd);
  return {};
}

void SyncPeers::State::send(const net::IpAddress& to, std::span<const std::byte> datagram) {
  const auto peer = socket_address(to, port, 0);
  // One that is lost is asked for again.
  (void)::sendto((to.is_v4() ? v4 : v6).get(), datagram.data(), datagram.size(), 0, peer.get(),
                 peer.size);
}

void SyncPeers::State::read(int fd) {
  // One byte more than a message has, so that longer ones are seen to be none.
  std::array<std::byte, kTableMessage + 1> buffer;
  for (int i = 0; i < kBurst; ++i) {
    SocketAddress from;
    from.size = sizeof from.storage;
    const auto size = ::recvfrom(fd, buffer.data(), buffer.size(), 0, from.put(), &from.size);
    if (size < 0) return;  // nothing more, or an ICMP error that is told once
    if (!take(ip_address(from), std::span(buffer).first(static_cast<std::size_t>(size)))) {
      ++rejected;
    }
  }
}

bool SyncPeers::State::take(const net::IpAddress& from, std::span<const std::byte> datagram) {
  const auto found = std::find_if(peers.begin(), peers.end(),
                                  [&](const auto& peer) { return peer->address == from; });
  if (found == peers.end()) return false;
  const auto message = read_table_message(datagram, key);
  if (!message) return false;
  const bool is_question =
      message->type == TableMessageType::kHello || message->type == TableMessageType::kAsk;
  return is_question ? (*found)->server.receive(*message)
                     : (*found)->client.receive(*message, daemon.now());
}

SyncPeers::SyncPeers(std::unique_ptr<State> state) : state_(std::move(state)) {}
SyncPeers::~SyncPeers() = default;

tl::expected<std::unique_ptr<SyncPeers>, std::string> SyncPeers::create(
    const SyncPeersOptions& options, Daemon daemon) {
  auto key = read_table_key(options.key_file);
  if (!key) return error(std::move(key.error()));
  auto state = std::make_unique<State>(options, *std::move(key), std::move(daemon));
  for (const bool is_v4 : {true, false}) {
    const auto is_of_family = [&](const auto& peer) { return peer.is_v4() == is_v4; };
    if (std::none_of(options.peers.begin(), options.peers.end(), is_of_family)) continue;
    if (auto opened = state->open(is_v4); !opened) return error(std::move(opened.error()));
  }
  for (const auto& peer : options.peers) state->add(peer);
  const auto on_tick = [](evutil_socket_t, short, void* who) {
    auto& self = *static_cast<State*>(who);
    for (auto& peer : self.peers) peer->client.tick(self.daemon.now());
  };
  state->tick.reset(event_new(state->daemon.base, -1, EV_PERSIST, on_tick, state.get()));
  if (!state->tick || event_add(state->tick.get(), &kTick) != 0) {
    return error("cannot wait for time to pass: the event loop refuses");
  }
  return std::unique_ptr<SyncPeers>(new SyncPeers(std::move(state)));
}

std::vector<wire::NamedCounter> SyncPeers::counters() const {
  Duration lag{0};
  std::uint64_t silent = 0;
  std::uint64_t missed = 0;
  std::uint64_t tables = 0;
  std::uint64_t parts = 0;
  for (const auto& peer : state_->peers) {
    lag = std::max(lag, peer->client.lag(state_->daemon.now()));
    if (state_->backup.is_backup() && !peer->client.is_heard()) ++silent;
    missed += peer->client.missed();
    tables += peer->client.tables();
    parts += peer->server.parts_sent();
  }
  const auto lag_ms = std::chrono::duration_cast<std::chrono::milliseconds>(lag).count();
  return {{.name = "sync_lag_ms", .value = static_cast<std::uint64_t>(lag_ms)},
          {.name = "sync_peers_silent", .value = silent},
          {.name = "sync_messages_missed", .value = missed},
          {.name = "sync_tables_taken", .value = tables},
          {.name = "sync_table_parts_sent", .value = parts},
          {.name = "sync_table_messages_rejected", .value = state_->rejected}};
}

}  // namespace lb::daemon
