// SPDX-License-Identifier: Apache-2.0
// How the data path comes up and goes: nothing that it attached outlives it.
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <thread>

#include "datapath/linux_datapath.hpp"

namespace lb::datapath {
namespace {

/// Wakes poll() for frames that wait and neighbours to be told; the kernel's own are as coarse.
constexpr long kTickNanoseconds = 500'000'000;
constexpr std::uint32_t kSmallestRing = 128;
constexpr std::uint32_t kLargestRing = 1U << 15;
/// Memory cannot grow while interfaces use it: there is some for queues that a reload adds.
constexpr std::uint32_t kSpareQueues = 2;

}  // namespace

using engine::DropReason;
using engine::InterfaceId;

LinuxDatapath::~LinuxDatapath() {
  director_.set_steering_listener(nullptr);
  director_.stop_fast_path();
}

Outcome<void> LinuxDatapath::open(const DatapathOptions& options, engine::NetworkView& network) {
  view_ = &network;
  auto follower = NetworkFollower::create(network, log_);
  if (!follower) return tl::unexpected(follower.error());
  network_ = std::move(*follower);

  constexpr std::size_t kFewest = 1U << 16;
  // 48 bytes each, used or not. More endpoints than that: their addresses are steered whole.
  constexpr std::size_t kMost = 1U << 19;
  const auto endpoints = std::clamp(director_.connection_capacity(), kFewest, kMost);
  FlowSizes flows(director_.connection_capacity());
  flows.ipv4 = options.fast_ipv4.value_or(flows.ipv4);
  flows.ipv6 = options.fast_ipv6.value_or(flows.ipv6);
  auto program = SteerProgram::load(static_cast<std::uint32_t>(endpoints), flows, options.pins,
                                    options.stand_in);
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
  auto flow_memory = program_->flow_memory();
  flow_memory.time_origin = options.time_origin;
  flow_memory.lanes = std::clamp(sockets_, 1U, std::max(std::thread::hardware_concurrency(), 1U));
  director_.start_fast_path(flow_memory);
  for (std::size_t number = 0; number < interfaces_.size(); ++number) watch_sending(number);
  director_.adopt_flows(director_.now());
  // Only now: with endpoints in the maps packets are steered, and everything is ready for them.
  director_.set_steering_listener(steering_.get());
  steering_->drop_unused();
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
  mode_ = options.xdp_mode;
  xdp_tx_ = options.xdp_tx;
  ring_size_ =
      std::bit_floor(std::clamp(options.frames_per_queue / 2, kSmallestRing, kLargestRing));
  for (const auto& link : *links) {
    const auto queues = queue_counts(link);
    Served served;
    served.plan = {.link = link,
                   .queues = queues,
                   .first_socket = sockets_,
                   .host_queue = static_cast<std::uint32_t>(interfaces_.size()),
                   .ring_size = ring_size_,
                   .mode = mode_};
    served.sockets = queues.receive;
    interfaces_.push_back(std::move(served));
    sockets_ += queues.receive;
  }
  if (sockets_ > STEER_MAX_SOCKETS) {
    return tl::unexpected(
        fmt::format("the interfaces have {} receive queues together; {} can be served (ethtool -L)",
                    sockets_, static_cast<int>(STEER_MAX_SOCKETS)));
  }
  queues_with_frames_ = sockets_ + kSpareQueues;
  auto memory = FrameMemory::create(std::size_t{queues_with_frames_} * ring_size_ * 2);
  if (!memory) return tl::unexpected(memory.error());
  memory_ = std::move(*memory);

  std::vector<HostPath::Exit> exits;
  for (auto& served : interfaces_) {
    if (auto opened = open_one(served); !opened) return opened;
    exits.push_back({.interface = served.opened->id(), .is_native = served.opened->is_native()});
  }
  warn_of_vlans(all);
  auto host = HostPath::create(*program_, exits);
  if (!host) return tl::unexpected(host.error());
  host_ = std::move(*host);
  return {};
}

Outcome<void> LinuxDatapath::open_one(Served& served) {
  // At the start nothing runs that could be held up. Later, packets of other interfaces would be;
  // try_again comes back instead.
  const bool is_starting = host_ == nullptr;
  auto opened = ServedInterface::open(
      {.program = *program_, .memory = *memory_, .log = log_, .may_wait = is_starting},
      served.plan);
  if (!opened) return tl::unexpected(opened.error());
  served.opened = std::move(*opened);
  const auto queues = served.opened->ports().size();
  log_(LogLevel::kInfo, fmt::format("interface {}: {} XDP, {} queue{}", served.opened->name(),
                                    served.opened->is_native() ? "native" : "generic", queues,
                                    queues == 1 ? "" : "s"));
  return {};
}

void LinuxDatapath::warn_of_vlans(const std::vector<LinkChange>& links) const {
  for (const auto& link : links) {
    if (link.kind != "vlan") continue;
    const auto below = std::find_if(interfaces_.begin(), interfaces_.end(), [&](const auto& other) {
      return static_cast<std::uint32_t>(other.opened->id()) == link.below;
    });
    if (below == interfaces_.end() || !strips_vlan_tags(below->opened->name())) continue;
    log_(LogLevel::kWarning,
         fmt::format("interface {}: VLAN tags of received packets are taken out before XDP sees "
                     "them, so packets of {} are taken for untagged ones; turn that off (ethtool "
                     "-K {} rxvlan off)",
                     below->opened->name(), link.interface.name, below->opened->name()));
  }
}

Outcome<void> LinuxDatapath::open_neighbours() {
  auto requests = NetlinkSocket::open({});
  if (!requests) return tl::unexpected(requests.error());
  requests_.emplace(std::move(*requests));
  neighbours_ = std::make_unique<Neighbours>(
      [this](InterfaceId out, const net::IpAddress& next_hop) {
        // Linux (from 5.16) would make an ordinary entry of it, which fails if nobody answers.
        if (network_->is_fixed(out, next_hop)) return;
        // Not taken: asked again soon.
        (void)errands_->post([this, out, next_hop]() -> Errands::Conclusion {
          const int error = tell_use(*requests_, out, next_hop);
          if (error == 0) return {};
          return [this, next_hop, error] {
            log_(LogLevel::kDebug, fmt::format("cannot ask the kernel for the neighbour {}: {}",
                                               next_hop.to_text(), std::strerror(error)));
          };
        });
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
  auto errands = Errands::start();
  if (!errands) return tl::unexpected(errands.error());
  errands_ = std::move(*errands);
  if (auto added = watch(errands_->fd()); !added) return added;
  if (auto added = watch(timer_.get()); !added) return added;
  if (auto added = watch(network_->fd()); !added) return added;
  if (auto added = watch(requests_->fd()); !added) return added;
  for (std::size_t number = 0; number < interfaces_.size(); ++number) {
    if (auto added = watch(host_->fd(number)); !added) return added;
    if (auto added = watch_ports(*interfaces_[number].opened); !added) return added;
  }
  return {};
}

Outcome<void> LinuxDatapath::watch_ports(ServedInterface& interface) {
  for (auto& port : interface.ports()) {
    if (auto added = watch(port->fd()); !added) return added;
  }
  return {};
}

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
