// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_path.hpp"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "datapath/partial_checksum.hpp"
#include "net/byte_order.hpp"

namespace lb::datapath {
namespace {

/// What goes before each frame that is written to the TAP (struct virtio_net_hdr, whose header is
/// no C++).
struct TapHeader {
  std::uint8_t flags = 0;
  std::uint8_t segmentation = 0;
  std::uint16_t header_size = 0;
  std::uint16_t segment_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(TapHeader) == 10);
constexpr std::uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM

ifreq device_request() noexcept {
  ifreq request{};
  std::strncpy(request.ifr_name, HostPath::kDeviceName, sizeof(request.ifr_name) - 1);
  return request;
}

/// The device is no host of its own: without this it would get an IPv6 address and announce it.
int forbid_own_address(NetlinkSocket& socket, engine::InterfaceId device) {
  std::array<char, 256> buffer{};
  auto* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = RTM_NEWLINK;
  auto* link = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg)));
  link->ifi_index = static_cast<int>(device);
  auto* families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
  auto* ipv6 = mnl_attr_nest_start(message, AF_INET6);
  mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  mnl_attr_nest_end(message, ipv6);
  mnl_attr_nest_end(message, families);
  const int error = socket.request(*message);
  return error == EAFNOSUPPORT || error == EOPNOTSUPP ? 0 : error;  // a kernel without IPv6
}

/// Frames that a queue holds for us: one burst of a server on the director, whose sends nothing
/// slows down any more. The default of 1000 loses some of those.
constexpr int kQueueLength = 8192;

int bring_up() noexcept {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto request = device_request();
  if (!socket.valid() || ::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return errno;
  const auto flags = request.ifr_flags;
  request.ifr_qlen = kQueueLength;
  if (::ioctl(socket.get(), SIOCSIFTXQLEN, &request) != 0) return errno;
  request.ifr_flags = static_cast<short>(flags | IFF_UP | IFF_NOARP);
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
}

std::string failure_to(std::string_view what, int error) {
  std::string text = fmt::format("cannot {} the TAP device {} that returns packets to the host: {}",
                                 what, HostPath::kDeviceName, std::strerror(error));
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    text += "; load the tun module (modprobe tun) and see that /dev/net/tun exists";
  }
  if (error == EPERM || error == EACCES) text += "; run as root (CAP_NET_ADMIN)";
  if (error == EMFILE || error == ENFILE) text += "; allow more open files (ulimit -n)";
  if (error == EBUSY) text += "; another director has it, or remove it (ip link del sluice-host)";
  return text;
}

}  // namespace

Outcome<std::unique_ptr<HostPath>> HostPath::create(const SteerProgram& program,
                                                    std::span<const Exit> exits) {
  std::unique_ptr<HostPath> path(new HostPath);
  for (std::size_t i = 0; i < exits.size(); ++i) {
    if (auto opened = path->add_queue(); !opened) return tl::unexpected(opened.error());
  }
  for (std::size_t i = 0; i < exits.size(); ++i) {
    if (auto told = path->replace(program, i, exits[i]); !told) return tl::unexpected(told.error());
  }
  if (auto ready = path->configure(program); !ready) return tl::unexpected(ready.error());
  if (auto told = program.set_host_device(path->device_); !told) {
    return tl::unexpected(told.error());
  }
  const auto& secret = program.return_secret();
  std::memcpy(path->return_header_.data(), secret.data(), secret.size());
  const auto protocol = net::Be16::from_host(STEER_RETURN_PROTOCOL).to_network();
  std::memcpy(path->return_header_.data() + secret.size(), &protocol, sizeof(protocol));
  return path;
}

Outcome<void> HostPath::replace(const SteerProgram& program, std::size_t number, const Exit& exit) {
  queues_[number].is_native = exit.is_native;
  return program.set_host_interface(static_cast<std::uint32_t>(number), exit.interface);
}

Outcome<void> HostPath::add_queue() {
  FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.valid()) return tl::unexpected(failure_to("open", errno));
  auto request = device_request();
  int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  if (queues_.empty()) flags |= IFF_TUN_EXCL;
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
    return tl::unexpected(failure_to("create", errno));
  }
  queues_.push_back({.tap = std::move(tap), .is_native = true});
  return {};
}

Outcome<void> HostPath::configure(const SteerProgram& program) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto request = device_request();
  if (!socket.valid() || ::ioctl(socket.get(), SIOCGIFINDEX, &request) != 0) {
    return tl::unexpected(failure_to("find", errno));
  }
  device_ = engine::InterfaceId{static_cast<std::uint32_t>(request.ifr_ifindex)};
  auto requests = NetlinkSocket::open({});
  if (!requests) return tl::unexpected(requests.error());
  if (const int error = forbid_own_address(*requests, device_); error != 0) {
    return tl::unexpected(failure_to("configure", error));
  }
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = request.ifr_ifindex;
  hook.attach_point = BPF_TC_INGRESS;
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.prog_fd = program.return_program();
  // Hook and program go with the device.
  if (const int error = ::bpf_tc_hook_create(&hook); error != 0 && error != -EEXIST) {
    return tl::unexpected(failure_to("make a tc hook (clsact) on", -error));
  }
  if (const int error = ::bpf_tc_attach(&hook, &options); error != 0) {
    return tl::unexpected(failure_to("attach the tc program to", -error));
  }
  const int picker = program.queue_program();
  if (::ioctl(queues_.front().tap.get(), TUNSETSTEERINGEBPF, &picker) != 0) {
    return tl::unexpected(failure_to("set the queue program of", errno));
  }
  if (const int error = bring_up(); error != 0)
    return tl::unexpected(failure_to("bring up", error));
  return {};
}

int HostPath::deliver(std::size_t exit, std::span<const std::byte> frame) noexcept {
  if (exit >= queues_.size()) return ENODEV;
  const auto& queue = queues_[exit];
  const std::size_t prefix = queue.is_native ? 0 : return_header_.size();
  TapHeader offload;
  if (const auto partial = find_partial_checksum(frame)) {
    offload.flags = kNeedsChecksum;
    offload.checksum_start = static_cast<std::uint16_t>(prefix + partial->start);
    offload.checksum_offset = partial->offset;
  }
  // writev does not write through these.
  const std::array<iovec, 3> parts = {
      iovec{.iov_base = &offload, .iov_len = sizeof(offload)},
      iovec{.iov_base = return_header_.data(), .iov_len = prefix},
      iovec{.iov_base = const_cast<std::byte*>(frame.data()), .iov_len = frame.size()}};
  for (;;) {
    if (::writev(queue.tap.get(), parts.data(), static_cast<int>(parts.size())) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

void HostPath::ask_losses(NetlinkSocket& socket) const noexcept {
  std::array<char, 128> buffer{};
  auto* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = RTM_GETLINK;
  message->nlmsg_flags = NLM_F_REQUEST;
  auto* link = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg)));
  link->ifi_index = static_cast<int>(device_);
  (void)socket.send(*message);  // asked again soon
}

void HostPath::note(const nlmsghdr& message) noexcept {
  if (message.nlmsg_type != RTM_NEWLINK ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(ifinfomsg)) {
    return;
  }
  const auto* link = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
  if (link->ifi_index != static_cast<int>(device_)) return;
  const Attributes<IFLA_STATS64 + 1> attributes(message, sizeof(ifinfomsg));
  const nlattr* found = attributes.find(IFLA_STATS64);
  rtnl_link_stats64 statistics{};
  // Newer kernels append fields, older ones have fewer.
  constexpr std::size_t kNeeded =
      offsetof(rtnl_link_stats64, tx_dropped) + sizeof(statistics.tx_dropped);
  if (found == nullptr || mnl_attr_get_payload_len(found) < kNeeded) return;
  std::memcpy(&statistics, mnl_attr_get_payload(found), kNeeded);
  losses_ = statistics.tx_dropped;
}

std::size_t HostPath::receive(std::size_t exit, std::span<std::byte> room) noexcept {
  TapHeader offload;
  const std::array<iovec, 2> parts = {iovec{.iov_base = &offload, .iov_len = sizeof(offload)},
                                      iovec{.iov_base = room.data(), .iov_len = room.size()}};
  for (;;) {
    const auto size =
        ::readv(queues_[exit].tap.get(), parts.data(), static_cast<int>(parts.size()));
    if (size > static_cast<ssize_t>(sizeof(offload))) {
      return static_cast<std::size_t>(size) - sizeof(offload);
    }
    if (size >= 0 || errno != EINTR) return 0;
  }
}

}  // namespace lb::datapath
