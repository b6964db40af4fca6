// SPDX-License-Identifier: Apache-2.0
#include "datapath/raw_socket.hpp"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>

namespace lb::datapath {

Outcome<RawSocket> RawSocket::open() {
  RawSocket result;
  // Protocol 0: such a socket only sends.
  result.socket_ = FileDescriptor(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!result.socket_.valid()) {
    return system_failure("cannot open a packet socket (run as root: CAP_NET_RAW)", errno);
  }
  // Past queueing disciplines and tc programs, ours above all: it would take a frame of the engine
  // for one that the host sends.
  const int yes = 1;
  if (::setsockopt(result.socket_.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) != 0) {
    return system_failure("cannot have packets of a packet socket sent directly", errno);
  }
  return result;
}

int RawSocket::send(engine::InterfaceId out, std::span<const std::byte> frame) const noexcept {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(out);
  const ssize_t sent = ::sendto(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return sent < 0 ? errno : 0;
}

}  // namespace lb::datapath
