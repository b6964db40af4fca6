// SPDX-License-Identifier: Apache-2.0
#include "datapath/served_interface.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>

#include "datapath/partial_checksum.hpp"

namespace lb::datapath {
namespace {

/// Ethernet header and two VLAN tags.
constexpr std::uint32_t kLinkHeaders = 22;

Outcome<void> check_mtu(const LinkChange& link) {
  constexpr std::uint32_t kLargestMtu = FrameMemory::kLargestFrame - kLinkHeaders;
  if (link.interface.mtu <= kLargestMtu) return {};
  return tl::unexpected(fmt::format(
      "interface {}: the MTU is {}, and frames for the director may carry {} bytes at "
      "most; set it lower (ip link set {} mtu {})",
      link.interface.name, link.interface.mtu, kLargestMtu, link.interface.name, kLargestMtu));
}

}  // namespace

Outcome<std::unique_ptr<ServedInterface>> ServedInterface::open(const Shared& shared, Plan plan) {
  std::unique_ptr<ServedInterface> result(new ServedInterface(shared.program, std::move(plan)));
  const auto& link = result->plan_.link;
  if (auto fits = check_mtu(link); !fits) return tl::unexpected(fits.error());
  auto attached = shared.program.attach(link, result->plan_.mode, shared.log);
  if (!attached) return tl::unexpected(attached.error());
  result->attachment_ = std::move(*attached);
  if (!result->is_native()) result->merging_off_.emplace(link.interface.name, shared.log);
  if (auto opened = result->open_ports(shared); !opened) return tl::unexpected(opened.error());
  const bool takes_large = std::all_of(result->ports_.begin(), result->ports_.end(),
                                       [](const auto& port) { return port->takes_large(); });
  if (!result->is_native() && link.kind == "veth" && !takes_large) {
    shared.log(LogLevel::kWarning,
               fmt::format("interface {}: with generic XDP on a kernel before 6.9 its veth peer "
                           "must not segment late (ethtool -K PEER tso off gso off)",
                           link.interface.name));
  }
  auto egress = EgressHook::attach(shared.program.catch_program(), link);
  if (!egress) return tl::unexpected(egress.error());
  result->egress_ = std::move(*egress);
  auto told =
      shared.program.set_interface(link.interface.id, {.first_socket = result->plan_.first_socket,
                                                       .queues = result->plan_.queues.receive,
                                                       .host_queue = result->plan_.host_queue});
  if (!told) return tl::unexpected(told.error());
  return result;
}

Outcome<void> ServedInterface::open_ports(const Shared& shared) {
  const auto& link = plan_.link;
  if (auto created = umem_.create(shared.memory, plan_.ring_size); !created) return created;
  for (std::uint32_t queue = 0; queue < plan_.queues.receive; ++queue) {
    const std::uint32_t slot = plan_.first_socket + queue;
    auto port = XskPort::open(umem_, shared.memory,
                              {.interface = link.interface.id,
                               .name = link.interface.name,
                               .queue = queue,
                               .ring_size = plan_.ring_size,
                               .number = static_cast<FrameMemory::Holder>(slot + 1),
                               .takes_large = !is_native(),
                               .may_wait = shared.may_wait});
    if (!port) return tl::unexpected(port.error());
    const int fd = (*port)->fd();
    if (::bpf_map_update_elem(shared.program.socket_map(), &slot, &fd, BPF_ANY) != 0) {
      return system_failure(
          fmt::format("interface {}: cannot steer to an AF_XDP socket", link.interface.name),
          errno);
    }
    ports_.push_back(std::move(*port));
  }
  sending_ports_ = std::min<std::size_t>(plan_.queues.transmit, ports_.size());
  return {};
}

ServedInterface::~ServedInterface() { program_.remove_interface(id()); }

InterfaceStatus ServedInterface::status() const {
  InterfaceStatus result{.name = name(), .xdp_mode = is_native() ? "native" : "generic"};
  result.unfinished_checksums = unfinished_checksums_;
  result.queues = static_cast<std::uint32_t>(ports_.size());
  for (const auto& port : ports_) {
    result.packets_received += port->counters().received;
    result.received_by_queue.push_back(port->counters().received);
    result.packets_sent += port->counters().sent;
    result.receive_drops += port->receive_drops();
  }
  return result;
}

void ServedInterface::note_checksum(std::span<const std::byte> frame) noexcept {
  if (find_partial_checksum(frame)) ++unfinished_checksums_;
}

void ServedInterface::watch_drops(const Log& log) {
  if (has_told_drops_) return;
  const auto drops = status().receive_drops;
  if (drops == 0) return;
  has_told_drops_ = true;
  log(LogLevel::kWarning,
      fmt::format("interface {}: {} frames for the director were lost so far: more came than it "
                  "could take, or larger ones than {} bytes{}",
                  name(), drops, FrameMemory::kLargestFrame,
                  is_native() || ports_.front()->takes_large()
                      ? ""
                      : " (in generic mode segmentation offload of a veth peer makes such: "
                        "ethtool -K PEER tso off gso off)"));
}

}  // namespace lb::datapath
