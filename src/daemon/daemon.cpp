// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "control/daemon_control.hpp"
#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "control/status_source.hpp"
#include "daemon/away_time.hpp"
#include "daemon/control_server.hpp"
#include "daemon/event.hpp"
#include "daemon/health.hpp"
#include "daemon/huge_pages.hpp"
#include "daemon/log.hpp"
#include "daemon/notify.hpp"
#include "daemon/peer.hpp"
#include "daemon/reload.hpp"
#include "daemon/short_slices.hpp"
#include "daemon/sync_peers.hpp"
#include "daemon/sync_sockets.hpp"
#include "datapath/pins.hpp"
#include "datapath/state_memory.hpp"
#include "wire/socket_name.hpp"

namespace lb::daemon {
namespace {

// With connections, timers are due all the time; without, only rates have to be kept.
constexpr timeval kBusyTick{.tv_sec = 0, .tv_usec = 16'000};
constexpr timeval kIdleTick{.tv_sec = 1, .tv_usec = 0};
// How often the daemon looks at its own health.
constexpr timeval kLookTime{.tv_sec = 1, .tv_usec = 0};
constexpr timeval kNow{.tv_sec = 0, .tv_usec = 0};
// Packets, timers and clients take turns, a bounded piece each (no priorities: under a flood of
// packets libevent would run nothing else, and nobody could be told to stop it). What has more to
// do comes again by a timer that is due at once, never by event_active(): libevent would go on with
// that before it looks at any socket.
constexpr std::size_t kPacketBudget = 1024;
// Connections that end cost up to a microsecond each.
constexpr std::size_t kTimerBudget = 256;
// Beside each message or request: others have their turn for the rest.
constexpr std::size_t kTimerBudgetBeside = 16;

tl::unexpected<std::string> error(std::string message) {
  return tl::unexpected(std::move(message));
}

tl::expected<std::array<std::uint64_t, 2>, std::string> random_key() {
  std::array<std::uint64_t, 2> key{};
  // Never short for up to 256 bytes (getrandom(2)).
  if (::getrandom(key.data(), sizeof(key), 0) != static_cast<ssize_t>(sizeof(key))) {
    return error(fmt::format("no random numbers for the hash key: {}", std::strerror(errno)));
  }
  return key;
}

tl::expected<std::optional<gid_t>, std::string> find_group(const std::string& name) {
  if (name.empty()) return std::optional<gid_t>{};
  errno = 0;
  const group* entry = ::getgrnam(name.c_str());
  if (entry == nullptr) {
    return error(
        errno == 0 ? fmt::format("there is no group '{}' for the control socket", name)
                   : fmt::format("cannot look up the group '{}': {}", name, std::strerror(errno)));
  }
  return std::optional<gid_t>{entry->gr_gid};
}

/// Takes as many file descriptors as the hard limit allows. Each client, receive queue and BPF
/// map needs one, and libbpf tells of too few in strange ways: better to refuse here.
tl::expected<void, std::string> raise_descriptor_limit() {
  constexpr rlim_t kEnough = 512;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  if (limit.rlim_max < kEnough) {
    return error(
        fmt::format("only {} file descriptors may be open, {} are needed: raise the limit "
                    "(ulimit -n, LimitNOFILE= in systemd)",
                    limit.rlim_max, kEnough));
  }
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return error(
        fmt::format("cannot raise the limit of file descriptors: {}", std::strerror(errno)));
  }
  return {};
}

tl::expected<std::string, std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return error(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  return text;
}

// Of an interface, in the status: they have to fit into one message.
constexpr std::size_t kToldQueues = 64;

}  // namespace

/// What outlives the daemon, if anything does.
struct Legacy {
  std::unique_ptr<datapath::Pins> pins;
  std::unique_ptr<datapath::StateMemory> memory;

  /// Without it (no BPF file system, no memory) a director that ends takes its connections along.
  static Legacy open(std::uint32_t connections) {
    Legacy result;
    auto pins = datapath::Pins::open();
    if (pins) {
      auto memory = datapath::StateMemory::open(**pins, connections, log);
      if (memory) {
        if ((*memory)->has_discarded()) {
          log(LogLevel::kWarning,
              "the state of the director before is of another build or table size: starting anew");
        }
        result.pins = *std::move(pins);
        // A start that fails leaves to the next one what was there.
        result.pins->keep((*memory)->memory().is_adoptable());
        result.memory = *std::move(memory);
        return result;
      }
      pins = error(memory.error());
    }
    log(LogLevel::kWarning,
        fmt::format("connections will not survive a restart: {}", pins.error()));
    return result;
  }
};

struct Daemon::State : control::StatusSource, control::DaemonControl {
  State(const engine::DirectorOptions& options, EventBasePtr event_loop, std::string_view name,
        Configuration read, DaemonHooks given, Legacy kept)
      : legacy(std::move(kept)),
        base(std::move(event_loop)),
        own_version(name),
        configuration(std::move(read)),
        hooks(std::move(given)),
        director(options, network),
        handler(director, this, this),
        sync_sockets(base.get(), [this](std::span<const std::byte> message) {
          take_sync(message, engine::SyncOrigin::kGroup);
        }) {
    director.set_sync_transport(&sync_sockets);
  }

  Legacy legacy;  ///< outlives all that works on it
  EventBasePtr base;
  std::string own_version;
  Configuration configuration;  ///< in force
  DaemonHooks hooks;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  engine::NetworkView network;
  engine::Director director;
  control::RequestHandler handler;
  SyncSockets sync_sockets;
  std::unique_ptr<SyncPeers> sync_peers;  ///< null: none are configured
  std::unique_ptr<ControlServer> server;
  std::unique_ptr<datapath::Datapath> datapath;
  Health health_now{log};
  AwayTime away;
  EventPtr packets, more_packets, tick, terminate, interrupt, leave, hang_up, look_again,
      sign_of_life;
  bool is_tick_busy = false;

  // The time line is that of the machine: the next director goes on with it.
  [[nodiscard]] Timestamp now() const {
    return {std::chrono::steady_clock::now().time_since_epoch()};
  }

  [[nodiscard]] tl::expected<void, std::string> listen(std::optional<gid_t> group);
  [[nodiscard]] tl::expected<void, std::string> begin();
  [[nodiscard]] tl::expected<void, std::string> load(const std::string& path);
  [[nodiscard]] tl::expected<void, std::string> attach(const datapath::DatapathOptions& options);
  [[nodiscard]] tl::expected<void, std::string> wait_for_signals();

  [[nodiscard]] std::string version() const override { return own_version; }
  [[nodiscard]] Duration uptime() const override {
    return std::chrono::steady_clock::now() - start;
  }
  [[nodiscard]] tl::expected<void, std::string> start_watching();
  [[nodiscard]] tl::expected<Reload, std::string> reload();
  void handle_hang_up();
  void look();

  [[nodiscard]] std::string health() const override { return health_now.text(); }
  [[nodiscard]] std::vector<wire::InterfaceStatus> interfaces() const override;
  [[nodiscard]] std::vector<wire::NamedCounter> counters() const override;

  [[nodiscard]] tl::expected<void, std::string> find_sync_peers();
  void take_sync(std::span<const std::byte> message, engine::SyncOrigin origin);
  void make_tick_busy();
  void handle_packets();
  void handle_tick();
  void poll();
  void end(bool keeps_forwarding, std::string_view why);
  /// The acknowledgement is written before the loop looks whether it goes on.
  [[nodiscard]] Result<void> stop(wire::StopMode mode) override;
};

void Daemon::State::end(bool keeps_forwarding, std::string_view why) {
  if (keeps_forwarding && legacy.pins != nullptr) legacy.pins->keep(true);
  log(LogLevel::kInfo, fmt::format("stopping: {}", why));
  notify_service_manager("STOPPING=1");
  event_base_loopbreak(base.get());
}

Result<void> Daemon::State::stop(wire::StopMode mode) {
  using enum wire::StopMode;
  if (mode == kKeepForwarding && legacy.pins == nullptr) return failure(ENOTSUP);
  const bool keeps =
      mode == kKeepForwarding || (mode == kAsConfigured && configuration.keep_forwarding);
  end(keeps, "a client of the control socket asked for it");
  return {};
}

tl::expected<void, std::string> Daemon::State::listen(std::optional<gid_t> group) {
  auto handle = [this](std::span<const std::byte> datagram, std::uint32_t port_id,
                       control::Session& session) {
    director.advance(now(), kTimerBudgetBeside);
    return handler.handle(datagram, port_id, &session);
  };
  auto created = ControlServer::create(
      base.get(),
      {.name = std::string(wire::kControlSocketName.substr(1)), .group = group, .away = &away},
      std::move(handle));
  if (!created) return error(std::move(created.error()));
  server = *std::move(created);
  return {};
}

tl::expected<void, std::string> Daemon::State::load(const std::string& path) {
  if (path.empty()) return {};
  const auto text = read_file(path);
  if (!text) return error(text.error());
  control::DirectTransport transport(handler);
  if (auto done = hooks.load_rules(*text, transport); !done) {
    return error(fmt::format("{}:{}", path, done.error()));
  }
  log(LogLevel::kInfo, fmt::format("{}: {} services", path, director.service_count()));
  return {};
}

/// Goes on where the director before was ended, or begins with the rules file.
tl::expected<void, std::string> Daemon::State::begin() {
  if (!director.can_adopt()) {
    director.begin_saving();
    director.set_settings(configuration.settings);
    return load(configuration.rules_file);
  }
  const auto adopted = director.adopt(now());
  director.set_settings(merge_settings(director.settings(), {}, configuration.settings));
  log(LogLevel::kInfo,
      fmt::format("went on with {} services, {} servers and {} connections of the director before; "
                  "{} could not be taken over",
                  adopted.services, adopted.destinations, adopted.connections, adopted.lost));
  make_tick_busy();
  return {};
}

tl::expected<void, std::string> Daemon::State::attach(const datapath::DatapathOptions& options) {
  auto created = datapath::Datapath::create(options, director, network, log);
  if (!created) return error(std::move(created.error()));
  datapath = *std::move(created);

  const auto on_packets = [](evutil_socket_t, short, void* who) {
    static_cast<State*>(who)->handle_packets();
  };
  const auto on_tick = [](evutil_socket_t, short, void* who) {
    static_cast<State*>(who)->handle_tick();
  };
  packets.reset(event_new(base.get(), datapath->fd(), EV_READ | EV_PERSIST, on_packets, this));
  more_packets.reset(event_new(base.get(), -1, 0, on_packets, this));
  tick.reset(event_new(base.get(), -1, 0, on_tick, this));
  if (!packets || !more_packets || !tick || event_add(packets.get(), nullptr) != 0 ||
      event_add(tick.get(), &kIdleTick) != 0) {
    return error("cannot wait for packets: the event loop refuses");
  }
  return {};
}

tl::expected<void, std::string> Daemon::State::find_sync_peers() {
  if (configuration.sync.peers.empty()) return {};
  auto created =
      SyncPeers::create(configuration.sync, {.base = base.get(),
                                             .director = director,
                                             .group = sync_sockets,
                                             .now = [this] { return now(); },
                                             .take =
                                                 [this](std::span<const std::byte> message) {
                                                   take_sync(message, engine::SyncOrigin::kTable);
                                                 }});
  if (!created) return error(std::move(created.error()));
  sync_peers = *std::move(created);
  return {};
}

void Daemon::State::take_sync(std::span<const std::byte> message, engine::SyncOrigin origin) {
  const AwayTime::Span span(&away);
  director.advance(now(), kTimerBudgetBeside);
  director.receive_sync(message, origin);
  make_tick_busy();
}

// Connections have timers to be kept.
void Daemon::State::make_tick_busy() {
  if (is_tick_busy || tick == nullptr || director.connection_count() == 0) return;
  is_tick_busy = true;
  event_add(tick.get(), &kBusyTick);
}

void Daemon::State::poll() {
  away.visit();
  if (datapath->poll(now(), kPacketBudget)) event_add(more_packets.get(), &kNow);
}

void Daemon::State::handle_packets() {
  poll();
  make_tick_busy();
}

void Daemon::State::handle_tick() {
  bool are_timers_due = false;
  {
    const AwayTime::Span span(&away);
    are_timers_due = director.advance(now(), kTimerBudget);
  }
  poll();
  is_tick_busy = director.connection_count() > 0;
  const auto* next = is_tick_busy ? &kBusyTick : &kIdleTick;
  event_add(tick.get(), are_timers_due ? &kNow : next);
}

std::vector<wire::InterfaceStatus> Daemon::State::interfaces() const {
  std::vector<wire::InterfaceStatus> all;
  if (!datapath) return all;
  for (const auto& interface : datapath->status()) {
    all.push_back({.name = interface.name,
                   .xdp_mode = interface.xdp_mode,
                   .note = {},
                   .counters = {{"queues", interface.queues},
                                {"packets_received", interface.packets_received},
                                {"packets_sent", interface.packets_sent},
                                {"receive_drops", interface.receive_drops},
                                {"unfinished_checksums", interface.unfinished_checksums}}});
    const auto& by_queue = interface.received_by_queue;
    for (std::size_t queue = 0; by_queue.size() > 1 && queue < by_queue.size(); ++queue) {
      if (queue == kToldQueues) break;
      all.back().counters.push_back(
          {fmt::format("packets_received_queue_{}", queue), by_queue[queue]});
    }
  }
  return all;
}

std::vector<wire::NamedCounter> Daemon::State::counters() const {
  const auto longest = std::chrono::duration_cast<std::chrono::microseconds>(away.longest());
  std::vector<wire::NamedCounter> all{
      {.name = "sync_send_failures", .value = sync_sockets.send_failures()},
      {.name = "loop_away_longest_us", .value = static_cast<std::uint64_t>(longest.count())},
      {.name = "loop_away_beyond_250us", .value = away.count_long()},
      {.name = "loop_away_beyond_1ms", .value = away.count_too_long()}};
  if (sync_peers) {
    for (auto& counter : sync_peers->counters()) all.push_back(std::move(counter));
  }
  if (!datapath) return all;
  for (const auto& [name, value] : datapath->counters()) {
    all.push_back({.name = std::string(name), .value = value});
  }
  return all;
}

tl::expected<void, std::string> Daemon::State::wait_for_signals() {
  const auto on_stop = [](evutil_socket_t signal, short, void* who) {
    auto& state = *static_cast<State*>(who);
    state.end(state.configuration.keep_forwarding || signal == SIGUSR2, ::strsignal(signal));
  };
  const auto on_hang_up = [](evutil_socket_t, short, void* who) {
    static_cast<State*>(who)->handle_hang_up();
  };
  terminate.reset(evsignal_new(base.get(), SIGTERM, on_stop, this));
  interrupt.reset(evsignal_new(base.get(), SIGINT, on_stop, this));
  leave.reset(evsignal_new(base.get(), SIGUSR2, on_stop, this));
  hang_up.reset(evsignal_new(base.get(), SIGHUP, on_hang_up, this));
  for (auto* signal : {terminate.get(), interrupt.get(), leave.get(), hang_up.get()}) {
    if (signal == nullptr || event_add(signal, nullptr) != 0) {
      return error("cannot wait for signals: the event loop refuses");
    }
  }
  return {};
}

tl::expected<void, std::string> Daemon::State::start_watching() {
  const auto on_look = [](evutil_socket_t, short, void* who) { static_cast<State*>(who)->look(); };
  look_again.reset(event_new(base.get(), -1, EV_PERSIST, on_look, this));
  if (!look_again || event_add(look_again.get(), &kLookTime) != 0) {
    return error("cannot wait for time to pass: the event loop refuses");
  }
  const auto limit = watchdog_limit();
  if (!limit) return {};
  // Half the time, as sd_watchdog_enabled(3) advises. It comes from the loop that serves packets:
  // a loop that hangs gives no sign.
  const auto half = *limit / 2;
  const timeval time{.tv_sec = half / std::chrono::seconds(1),
                     .tv_usec = (half % std::chrono::seconds(1)).count()};
  const auto on_time = [](evutil_socket_t, short, void*) { notify_service_manager("WATCHDOG=1"); };
  sign_of_life.reset(event_new(base.get(), -1, EV_PERSIST, on_time, nullptr));
  if (!sign_of_life || event_add(sign_of_life.get(), &time) != 0) {
    return error("cannot serve the watchdog: the event loop refuses");
  }
  return {};
}

void Daemon::State::look() {
  const AwayTime::Span span(&away);
  const auto full = static_cast<std::size_t>(engine::DropReason::kTableFull);
  const auto status = datapath->status();
  if (health_now.look({.interfaces = status,
                       .connections = director.connection_count(),
                       .capacity = director.connection_capacity(),
                       .table_full_drops = director.counters().dropped[full]},
                      now())) {
    notify_service_manager("STATUS=" + health_now.text());
  }
}

/// Reads everything before it changes anything: an error leaves all as it was.
tl::expected<Reload, std::string> Daemon::State::reload() {
  const auto fresh = hooks.read_configuration();
  if (!fresh) return error(fresh.error());
  const auto group = find_group(fresh->socket_group);
  if (!group) return error(group.error());
  auto changes = compare(configuration, *fresh);
  const auto& interfaces = fresh->datapath.interfaces;
  if (interfaces.empty() || interfaces != configuration.datapath.interfaces) {
    if (const auto served = datapath->serve(interfaces); !served) return error(served.error());
  }
  configuration.datapath.interfaces = interfaces;

  change_log(fresh->log_level, fresh->log_format);
  server->set_group(*group);
  director.set_settings(
      merge_settings(director.settings(), configuration.settings, fresh->settings));
  // What needs a restart stays as it is, so that it is told again until it happens.
  configuration.log_level = fresh->log_level;
  configuration.log_format = fresh->log_format;
  configuration.socket_group = fresh->socket_group;
  configuration.keep_forwarding = fresh->keep_forwarding;
  configuration.settings = fresh->settings;
  return changes;
}

void Daemon::State::handle_hang_up() {
  const auto since_boot = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
  notify_service_manager(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", since_boot.count()));
  const auto changes = reload();
  if (!changes) {
    log(LogLevel::kError, fmt::format("reload: {}; nothing was changed", changes.error()));
  } else {
    log(LogLevel::kInfo, changes->applied.empty() ? std::string("reload: nothing to apply")
                                                  : fmt::format("reload: applied {}",
                                                                fmt::join(changes->applied, ", ")));
    if (!changes->need_restart.empty()) {
      log(LogLevel::kWarning, fmt::format("reload: {} changed, which needs a restart; the old "
                                          "value stays in force until then",
                                          fmt::join(changes->need_restart, ", ")));
    }
  }
  notify_service_manager("READY=1");
}

Daemon::Daemon(std::unique_ptr<State> state) : state_(std::move(state)) {}
Daemon::~Daemon() = default;

tl::expected<std::unique_ptr<Daemon>, std::string> Daemon::create(
    const Configuration& configuration, std::string_view version, DaemonHooks hooks) {
  if (const auto missing = missing_capability()) {
    return error(
        fmt::format("no privileges to serve packets ({} is missing): run as root", *missing));
  }
  if (auto done = raise_descriptor_limit(); !done) return error(std::move(done.error()));
  auto group = find_group(configuration.socket_group);
  if (!group) return error(std::move(group.error()));
  auto key = random_key();
  if (!key) return error(std::move(key.error()));
  EventBasePtr base(event_base_new());
  if (!base) return error("cannot make an event loop");
  // A peer that leaves while it is written to is no reason to die.
  std::signal(SIGPIPE, SIG_IGN);

  engine::DirectorOptions options;
  options.connection_capacity = configuration.table_size;
  options.hash_key = *key;
  options.block_hint = ask_for_huge_pages;
  auto legacy = Legacy::open(configuration.table_size);
  if (legacy.memory != nullptr) options.memory = legacy.memory->memory();
  auto state = std::make_unique<State>(options, std::move(base), version, configuration,
                                       std::move(hooks), std::move(legacy));
  if (auto done = state->wait_for_signals(); !done) return error(std::move(done.error()));
  if (auto done = state->listen(*group); !done) return error(std::move(done.error()));
  if (auto done = state->find_sync_peers(); !done) return error(std::move(done.error()));
  if (auto done = state->begin(); !done) return error(std::move(done.error()));
  auto datapath_options = configuration.datapath;
  datapath_options.pins = state->legacy.pins.get();
  if (auto done = state->attach(datapath_options); !done) {
    return error(std::move(done.error()));
  }
  if (auto done = state->start_watching(); !done) return error(std::move(done.error()));
  if (state->legacy.pins != nullptr) state->legacy.pins->keep(false);
  std::string names;
  for (const auto& interface : state->datapath->status()) {
    names +=
        fmt::format("{}{} ({})", names.empty() ? "" : ", ", interface.name, interface.xdp_mode);
  }
  log(LogLevel::kInfo, fmt::format("sluiced {} serves {}", version, names));
  return std::unique_ptr<Daemon>(new Daemon(std::move(state)));
}

bool Daemon::run() {
  ask_for_short_slices();
  notify_service_manager("READY=1");
  auto* base = state_->base.get();
  bool is_fine = true;
  do {
    is_fine = event_base_loop(base, EVLOOP_ONCE) >= 0;
    state_->away.visit();  // the loop looks at all sockets now
  } while (is_fine && event_base_got_break(base) == 0);
  if (!is_fine) log(LogLevel::kError, "the event loop failed");
  return is_fine;
}

}  // namespace lb::daemon
