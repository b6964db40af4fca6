// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_sockets.hpp"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <fstream>

#include "datapath/file_descriptor.hpp"
#include "engine/snat.hpp"

namespace lb::datapath {
namespace {

constexpr auto kInterval = std::chrono::seconds(5);
// States of linux/tcp_states.h, as bits.
constexpr std::uint32_t kListening = 1U << 10U;
constexpr std::uint32_t kEveryState = ~0U;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

void note(const nlmsghdr& message, std::bitset<1U << 16>& ports) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(inet_diag_msg)) return;
  const auto* socket = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(&message));
  ports.set(ntohs(socket->id.idiag_sport));
}

/// Handles what one read brought. True: that was all; an errno on failure.
tl::expected<bool, int> take(const std::byte* bytes, std::size_t size,
                             std::bitset<1U << 16>& ports) {
  const auto* message = reinterpret_cast<const nlmsghdr*>(bytes);
  auto left = static_cast<int>(size);
  for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
    if (message->nlmsg_type == NLMSG_DONE) return true;
    if (message->nlmsg_type == NLMSG_ERROR) {
      const bool is_whole = mnl_nlmsg_get_payload_len(message) >= sizeof(nlmsgerr);
      const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
      return tl::unexpected(is_whole ? -error->error : EBADMSG);
    }
    note(*message, ports);
  }
  return false;
}

/// Asks for the sockets of a family and protocol. Returns 0 or an errno.
int ask(int socket, std::uint8_t family, std::uint8_t protocol, std::uint32_t states,
        std::bitset<1U << 16>& ports) {
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = protocol;
  request.body.idiag_states = states;
  if (::send(socket, &request, sizeof(request), 0) < 0) return errno;
  alignas(nlmsghdr) std::array<std::byte, 32768> buffer;
  while (true) {
    const auto size = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno;
    const auto is_all = take(buffer.data(), static_cast<std::size_t>(size), ports);
    if (!is_all) return is_all.error();
    if (*is_all) return 0;
  }
}

void read_range(model::PortRange& range) {
  std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
  unsigned first = 0;
  unsigned last = 0;
  if (!(file >> first >> last) || first == 0 || first > last || last > UINT16_MAX) return;
  range = {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
}

}  // namespace

Outcome<engine::HostPorts> read_host_ports() {
  constexpr auto kWhat = "cannot ask the kernel for the ports that the host's programs use";
  const FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.valid()) return system_failure(kWhat, errno);
  // The kernel answers from within the call; this is only lest a fault of it stops everything.
  const timeval limit{.tv_sec = 1, .tv_usec = 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  engine::HostPorts ports;
  for (const auto family : std::array<std::uint8_t, 2>{AF_INET, AF_INET6}) {
    if (const int error = ask(socket.get(), family, IPPROTO_TCP, kListening, ports.tcp);
        error != 0) {
      return system_failure(kWhat, error);
    }
    if (const int error = ask(socket.get(), family, IPPROTO_UDP, kEveryState, ports.udp);
        error != 0) {
      return system_failure(kWhat, error);
    }
  }
  read_range(ports.ephemeral);
  return ports;
}

void HostPortsFollower::advance(engine::Director& director, Timestamp now, const Log& log) {
  if (engine::snat_rule_count(director) == 0 || now < next_) return;
  next_ = now + kInterval;
  const auto ports = read_host_ports();
  if (ports) {
    engine::set_host_ports(director, *ports);
  } else if (!has_warned_) {
    has_warned_ = true;
    log(LogLevel::kWarning,
        ports.error() + "; source NAT may choose one of them on an address of the host");
  }
}

}  // namespace lb::datapath
