// SPDX-License-Identifier: Apache-2.0
#include "datapath/datapath.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "datapath/host_path.hpp"
#include "datapath/neighbours.hpp"
#include "datapath/network_follower.hpp"
#include "datapath/raw_socket.hpp"
#include "datapath/served_interface.hpp"

namespace lb::datapath {
namespace {

using engine::DropReason;
using engine::InterfaceId;
using engine::Verdict;

constexpr std::size_t kBurst = 64;
/// Wakes poll() for frames that wait and neighbours to be told; the kernel's own are as coarse.
constexpr long kTickNanoseconds = 500'000'000;
constexpr std::uint32_t kSmallestRing = 128;
constexpr std::uint32_t kLargestRing = 1U << 15;

/// AF_XDP, netlink and the TAP, driven by poll().
class LinuxDatapath final : public Datapath {
 public:
  LinuxDatapath(engine::Director& director, Log log) : director_(director), log_(std::move(log)) {}
  ~LinuxDatapath() override;

  [[nodiscard]] Outcome<void> open(const DatapathOptions& options, engine::NetworkView& network);
  [[nodiscard]] int fd() const override { return epoll_.get(); }
  bool poll(Timestamp now, std::size_t budget) override;
  [[nodiscard]] std::vector<InterfaceStatus> status() const override;

 private:
  struct Origin {
    std::size_t interface;  ///< number of the served interface that the packet came in by
    std::uint32_t queue;
  };

  [[nodiscard]] Outcome<void> open_interfaces(const DatapathOptions& options);
  [[nodiscard]] Outcome<void> open_neighbours();
  [[nodiscard]] Outcome<void> open_events();
  [[nodiscard]] Outcome<void> watch(int descriptor);
  void warn_of_vlans(const std::vector<LinkChange>& links) const;
  void link_changed(const LinkChange& link);

  std::size_t receive(std::size_t interface, XskPort& port, std::size_t budget);
  void process(Frame frame, const Origin& origin);
  void settle(Frame frame, const Verdict& verdict, const Origin& origin);
  void settle_output(const engine::OutputFrame& output, const Origin& origin);
  void send(Frame frame, InterfaceId out, std::uint32_t queue);
  void send_raw(InterfaceId out, std::span<const std::byte> frame);
  void deliver(std::span<const std::byte> frame, const Origin& origin);
  bool flush();
  void handle_events();
  void drop(const Frame& frame, DropReason reason);
  [[nodiscard]] ServedInterface* served(InterfaceId id) noexcept;

  engine::Director& director_;
  Log log_;
  Timestamp now_;
  engine::Outputs outputs_;
  // Destroyed from the last to the first: interfaces before what they use.
  std::unique_ptr<NetworkFollower> network_;
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  std::unique_ptr<FrameMemory> memory_;
  Umem umem_;
  std::optional<RawSocket> raw_;
  std::optional<NetlinkSocket> requests_;
  std::unique_ptr<Neighbours> neighbours_;
  std::unique_ptr<HostPath> host_;
  std::vector<std::unique_ptr<ServedInterface>> interfaces_;  // null: gone
  FileDescriptor timer_;
  FileDescriptor epoll_;
  std::size_t turn_ = 0;  ///< which interface poll() begins with
};

LinuxDatapath::~LinuxDatapath() { director_.set_steering_listener(nullptr); }

Outcome<void> LinuxDatapath::open(const DatapathOptions& options, engine::NetworkView& network) {
  auto follower = NetworkFollower::create(network, log_);
  if (!follower) return tl::unexpected(follower.error());
  network_ = std::move(*follower);

  constexpr std::size_t kFewest = 1U << 16;
  constexpr std::size_t kMost = 1U << 22;
  const auto endpoints = std::clamp(director_.connection_capacity(), kFewest, kMost);
  auto program = SteerProgram::load(static_cast<std::uint32_t>(endpoints));
  if (!program) return tl::unexpected(program.error());
  program_ = std::move(*program);
  steering_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(), log_);

  auto raw = RawSocket::open();
  if (!raw) return tl::unexpected(raw.error());
  raw_.emplace(std::move(*raw));
  if (auto opened = open_interfaces(options); !opened) return opened;
  if (auto opened = open_neighbours(); !opened) return opened;
  if (auto opened = open_events(); !opened) return opened;
  network_->set_listeners(
      {.link = [this](const LinkChange& change) { link_changed(change); },
       .neighbour = [this](const NeighbourChange& change) { neighbours_->changed(change); }});
  // Only now: with endpoints in the maps packets are steered, and everything is ready for them.
  director_.set_steering_listener(steering_.get());
  return {};
}

Outcome<void> LinuxDatapath::open_interfaces(const DatapathOptions& options) {
  const auto all = network_->links();
  auto links = choose_links(all, options.interfaces);
  if (!links) return tl::unexpected(links.error());
  if (links->size() > STEER_MAX_INTERFACES) {
    return tl::unexpected(fmt::format("{} interfaces to serve; name {} at most", links->size(),
                                      static_cast<int>(STEER_MAX_INTERFACES)));
  }
  const auto ring_size =
      std::bit_floor(std::clamp(options.frames_per_queue / 2, kSmallestRing, kLargestRing));
  std::uint32_t sockets = 0;
  std::vector<ServedInterface::Plan> plans;
  for (const auto& link : *links) {
    const auto queues = queue_counts(link);
    plans.push_back({.link = link,
                     .queues = queues,
                     .first_socket = sockets,
                     .ring_size = ring_size,
                     .mode = options.xdp_mode});
    sockets += queues.receive;
  }
  if (sockets > STEER_MAX_SOCKETS) {
    return tl::unexpected(
        fmt::format("the interfaces have {} receive queues together; {} can be served (ethtool -L)",
                    sockets, static_cast<int>(STEER_MAX_SOCKETS)));
  }
  auto memory = FrameMemory::create(std::size_t{sockets} * ring_size * 2);
  if (!memory) return tl::unexpected(memory.error());
  memory_ = std::move(*memory);
  if (auto created = umem_.create(*memory_, ring_size); !created) return created;

  const ServedInterface::Shared shared{
      .program = *program_, .umem = umem_, .memory = *memory_, .log = log_};
  std::vector<HostPath::Exit> exits;
  for (auto& plan : plans) {
    auto opened = ServedInterface::open(shared, std::move(plan));
    if (!opened) return tl::unexpected(opened.error());
    auto& interface = *opened;
    log_(LogLevel::kInfo,
         fmt::format("interface {}: {} XDP, {} queue{}", interface->name(),
                     interface->is_native() ? "native" : "generic", interface->ports().size(),
                     interface->ports().size() == 1 ? "" : "s"));
    exits.push_back({.interface = interface->id(), .is_native = interface->is_native()});
    interfaces_.push_back(std::move(interface));
  }
  warn_of_vlans(all);
  auto host = HostPath::create(*program_, exits);
  if (!host) return tl::unexpected(host.error());
  host_ = std::move(*host);
  return {};
}

void LinuxDatapath::warn_of_vlans(const std::vector<LinkChange>& links) const {
  for (const auto& link : links) {
    if (link.kind != "vlan") continue;
    const auto below = std::find_if(interfaces_.begin(), interfaces_.end(), [&](const auto& other) {
      return static_cast<std::uint32_t>(other->id()) == link.below;
    });
    if (below == interfaces_.end() || !strips_vlan_tags((*below)->name())) continue;
    log_(LogLevel::kWarning,
         fmt::format("interface {}: VLAN tags of received packets are taken out before XDP sees "
                     "them, so packets of {} are taken for untagged ones; turn that off (ethtool "
                     "-K {} rxvlan off)",
                     (*below)->name(), link.interface.name, (*below)->name()));
  }
}

Outcome<void> LinuxDatapath::open_neighbours() {
  auto requests = NetlinkSocket::open({});
  if (!requests) return tl::unexpected(requests.error());
  requests_.emplace(std::move(*requests));
  neighbours_ = std::make_unique<Neighbours>(
      [this](InterfaceId out, const net::IpAddress& next_hop) {
        if (const int error = tell_use(*requests_, out, next_hop); error != 0) {
          log_(LogLevel::kDebug, fmt::format("cannot ask the kernel for the neighbour {}: {}",
                                             next_hop.to_text(), std::strerror(error)));
        }
      },
      [this](InterfaceId out, Frame frame, const net::Mac* mac) {
        if (mac == nullptr) return drop(frame, DropReason::kNoNeighbour);
        std::memcpy(memory_->bytes(frame).data(), mac->bytes.data(), mac->bytes.size());
        send(frame, out, 0);
      });
  return {};
}

Outcome<void> LinuxDatapath::watch(int descriptor) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0) return {};
  return system_failure("cannot wait for a descriptor of the data path", errno);
}

Outcome<void> LinuxDatapath::open_events() {
  epoll_ = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = FileDescriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  const itimerspec tick{.it_interval = {.tv_sec = 0, .tv_nsec = kTickNanoseconds},
                        .it_value = {.tv_sec = 0, .tv_nsec = kTickNanoseconds}};
  if (!epoll_.valid() || !timer_.valid() ||
      ::timerfd_settime(timer_.get(), 0, &tick, nullptr) != 0) {
    return system_failure("cannot create the data path's timer", errno);
  }
  if (auto added = watch(timer_.get()); !added) return added;
  if (auto added = watch(network_->fd()); !added) return added;
  if (auto added = watch(requests_->fd()); !added) return added;
  for (auto& interface : interfaces_) {
    for (auto& port : interface->ports()) {
      if (auto added = watch(port->fd()); !added) return added;
    }
  }
  return {};
}

void LinuxDatapath::link_changed(const LinkChange& link) {
  for (auto& interface : interfaces_) {
    if (interface == nullptr || interface->id() != link.interface.id) continue;
    if (!link.removed) {
      if (link.interface.mtu > FrameMemory::kLargestFrame) {
        log_(LogLevel::kWarning,
             fmt::format("interface {}: the MTU is {} now; frames beyond {} bytes will be lost",
                         interface->name(), link.interface.mtu, FrameMemory::kLargestFrame));
      }
      continue;
    }
    log_(LogLevel::kError,
         fmt::format("interface {}: it is gone and served no more; restart to serve a new one",
                     interface->name()));
    interface.reset();
  }
  if (link.removed) neighbours_->interface_gone(link.interface.id);
}

ServedInterface* LinuxDatapath::served(InterfaceId id) noexcept {
  for (auto& interface : interfaces_) {
    if (interface != nullptr && interface->id() == id) return interface.get();
  }
  return nullptr;
}

void LinuxDatapath::drop(const Frame& frame, DropReason reason) {
  director_.count_drop(reason);
  memory_->give(frame.chunk);
}

void LinuxDatapath::send_raw(InterfaceId out, std::span<const std::byte> frame) {
  const int error = raw_->send(out, frame);
  if (error != 0) {
    director_.count_drop(error == EMSGSIZE ? DropReason::kTooBig : DropReason::kOutputFull);
  }
}

/// Sends a frame and takes its chunk.
void LinuxDatapath::send(Frame frame, InterfaceId out, std::uint32_t queue) {
  ServedInterface* interface = served(out);
  if (interface == nullptr) {
    send_raw(out, memory_->bytes(frame));
    memory_->give(frame.chunk);
  } else if (!interface->port_for(queue).send(frame)) {
    drop(frame, DropReason::kOutputFull);
  }
}

void LinuxDatapath::deliver(std::span<const std::byte> frame, const Origin& origin) {
  if (const int error = host_->deliver(origin.interface, frame); error != 0) {
    director_.count_drop(DropReason::kOutputFull);
  }
}

/// Does with a processed frame what the verdict says, and takes its chunk.
void LinuxDatapath::settle(Frame frame, const Verdict& verdict, const Origin& origin) {
  switch (verdict.kind) {
    case Verdict::Kind::kSend:
      if (!verdict.next_hop.is_unspecified()) {
        neighbours_->note_use(verdict.out, verdict.next_hop, now_);
      }
      return send(frame, verdict.out, origin.queue);
    case Verdict::Kind::kResolve:
      if (!neighbours_->hold(verdict.out, verdict.next_hop, frame, now_)) {
        drop(frame, DropReason::kNoNeighbour);
      }
      return;
    case Verdict::Kind::kHost:
      deliver(memory_->bytes(frame), origin);
      break;
    case Verdict::Kind::kConsumed:
    case Verdict::Kind::kDrop:  // counted by the director
      break;
  }
  memory_->give(frame.chunk);
}

/// Does with a frame that leaves besides what its verdict says; it is copied into a chunk.
void LinuxDatapath::settle_output(const engine::OutputFrame& output, const Origin& origin) {
  using Kind = Verdict::Kind;
  if (output.verdict.kind == Kind::kHost) return deliver(output.frame, origin);
  if (output.verdict.kind != Kind::kSend && output.verdict.kind != Kind::kResolve) return;
  if (output.frame.size() > FrameMemory::kLargestFrame) {
    if (output.verdict.kind == Kind::kSend) return send_raw(output.verdict.out, output.frame);
    return director_.count_drop(DropReason::kTooBig);
  }
  if (memory_->free_chunks() == 0) return director_.count_drop(DropReason::kOutputFull);
  const Frame frame{.chunk = memory_->take(),
                    .offset = FrameMemory::kHeadroom,
                    .length = static_cast<std::uint32_t>(output.frame.size())};
  std::memcpy(memory_->bytes(frame).data(), output.frame.data(), output.frame.size());
  settle(frame, output.verdict, origin);
}

void LinuxDatapath::process(Frame frame, const Origin& origin) {
  net::Packet packet(memory_->chunk(frame), frame.offset, frame.length);
  const auto ingress = interfaces_[origin.interface]->id();
  const auto verdict = director_.process(packet, ingress, now_, outputs_);
  frame.offset = static_cast<std::uint32_t>(packet.offset());
  frame.length = static_cast<std::uint32_t>(packet.size());
  settle(frame, verdict, origin);
  for (const auto& output : outputs_.frames()) settle_output(output, origin);
  outputs_.clear();
}

std::size_t LinuxDatapath::receive(std::size_t interface, XskPort& port, std::size_t budget) {
  std::array<Frame, kBurst> frames;
  const auto count = port.receive(std::span(frames).first(std::min(budget, kBurst)));
  const Origin origin{.interface = interface, .queue = port.place().queue};
  for (std::size_t i = 0; i < count; ++i) process(frames[i], origin);
  return count;
}

/// Shows the kernel all that is to be sent; true if some of it waits for the kernel.
bool LinuxDatapath::flush() {
  bool is_waiting = false;
  for (auto& interface : interfaces_) {
    if (interface == nullptr) continue;
    for (auto& port : interface->ports()) {
      port->flush();
      is_waiting = is_waiting || port->wants_flush();
    }
  }
  return is_waiting;
}

/// Handles all that is no packet: the kernel's messages and the tick.
void LinuxDatapath::handle_events() {
  std::array<epoll_event, 64> events;
  const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < ready; ++i) {
    const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
    if (descriptor == network_->fd()) network_->poll();
    if (descriptor == requests_->fd()) {
      // The answers are errors only; the frames concerned run out of time.
      (void)requests_->receive([](const nlmsghdr&) {});
    }
    if (descriptor != timer_.get()) continue;
    std::uint64_t expirations = 0;
    if (::read(timer_.get(), &expirations, sizeof(expirations)) > 0) neighbours_->advance(now_);
    for (auto& interface : interfaces_) {
      if (interface != nullptr) interface->watch_drops(log_);
    }
  }
}

bool LinuxDatapath::poll(Timestamp now, std::size_t budget) {
  now_ = now;
  handle_events();

  // Bursts in turn, so that no interface starves another.
  std::size_t total = 0;
  bool is_more = true;
  while (is_more && total < budget) {
    is_more = false;
    for (std::size_t i = 0; i < interfaces_.size() && total < budget; ++i) {
      const std::size_t which = (turn_ + i) % interfaces_.size();
      if (interfaces_[which] == nullptr) continue;
      for (auto& port : interfaces_[which]->ports()) {
        if (total >= budget) break;
        const auto count = receive(which, *port, budget - total);
        total += count;
        is_more = is_more || count == kBurst;
      }
    }
    ++turn_;
    if (is_more) flush();
  }
  const bool is_waiting = flush();
  return is_waiting || total >= budget;
}

std::vector<InterfaceStatus> LinuxDatapath::status() const {
  std::vector<InterfaceStatus> result;
  for (const auto& interface : interfaces_) {
    if (interface != nullptr) result.push_back(interface->status());
  }
  return result;
}

}  // namespace

Outcome<std::unique_ptr<Datapath>> Datapath::create(const DatapathOptions& options,
                                                    engine::Director& director,
                                                    engine::NetworkView& network, Log log) {
  auto datapath = std::make_unique<LinuxDatapath>(director, std::move(log));
  if (auto opened = datapath->open(options, network); !opened) {
    return tl::unexpected(opened.error());
  }
  return datapath;
}

}  // namespace lb::datapath
