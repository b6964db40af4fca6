// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink_socket.hpp"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace lb::datapath {
namespace {

constexpr int kReceiveBuffer = 4 << 20;       // bursts of neighbour events must not overrun it
constexpr std::size_t kReadSize = 64 * 1024;  // the kernel's largest dump message is 32 KiB
constexpr int kDumpAttempts = 5;
constexpr int kDumpTimeoutMs = 5000;

}  // namespace

Outcome<NetlinkSocket> NetlinkSocket::open(std::span<const unsigned> groups) {
  NetlinkSocket result;
  result.fd_ =
      FileDescriptor(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!result.fd_.valid()) return system_failure("cannot open a routing netlink socket", errno);
  // Without the privilege to go beyond rmem_max the smaller size will do: losses are noticed.
  if (::setsockopt(result.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer,
                   sizeof(kReceiveBuffer)) != 0) {
    ::setsockopt(result.fd(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(result.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return system_failure("cannot bind a routing netlink socket", errno);
  }
  for (const unsigned group : groups) {
    if (::setsockopt(result.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) !=
        0) {
      return system_failure(fmt::format("cannot follow routing netlink group {}", group), errno);
    }
  }
  result.buffer_.resize(kReadSize);
  return result;
}

Outcome<NetlinkSocket::Received> NetlinkSocket::receive(const Handler& handler) {
  auto result = Received::kAll;
  for (;;) {
    const ssize_t size = ::recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return result;
      if (errno != ENOBUFS) return system_failure("cannot read routing netlink messages", errno);
      result = Received::kLost;
      continue;
    }
    int left = static_cast<int>(size);
    auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      handler(*message);
    }
  }
}

int NetlinkSocket::send(const nlmsghdr& message) noexcept {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = ::sendto(fd(), &message, message.nlmsg_len, MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
  return sent < 0 ? errno : 0;
}

Outcome<void> NetlinkSocket::dump(std::uint16_t type, std::uint8_t family, const Handler& handler,
                                  const std::function<void()>& restarted) {
  struct {
    nlmsghdr header;
    rtmsg body;  // the longest of the request headers; the kernel reads the family first in each
  } request{};
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    if (attempt > 0) restarted();
    const std::uint32_t sequence = ++sequence_;
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = type;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.header.nlmsg_seq = sequence;
    request.body.rtm_family = family;
    if (const int error = send(request.header); error != 0) {
      return system_failure("cannot ask the kernel for its network configuration", error);
    }
    const auto end = receive_dump(sequence, handler);
    if (!end) return tl::unexpected(end.error());
    if (*end == DumpEnd::kComplete) return {};
  }
  return tl::unexpected(
      std::string("the kernel's network configuration changes too fast to be read"));
}

Outcome<NetlinkSocket::DumpEnd> NetlinkSocket::receive_dump(std::uint32_t sequence,
                                                            const Handler& handler) {
  auto end = DumpEnd::kComplete;
  for (;;) {
    pollfd waiting{.fd = fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kDumpTimeoutMs) == 0) {
      return system_failure("no answer from the kernel to a routing netlink request", ETIMEDOUT);
    }
    const ssize_t size = ::recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (size < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return system_failure("cannot read the kernel's network configuration", errno);
    }
    int left = static_cast<int>(size);
    auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence) continue;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) end = DumpEnd::kInterrupted;
      if (message->nlmsg_type == NLMSG_DONE) return end;
      if (message->nlmsg_type == NLMSG_ERROR) {
        int error = EPROTO;
        if (mnl_nlmsg_get_payload_len(message) >= sizeof(nlmsgerr)) {
          error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
        }
        return system_failure("the kernel refuses to tell its network configuration", error);
      }
      handler(*message);
    }
  }
}

int NetlinkSocket::request(nlmsghdr& message) {
  message.nlmsg_seq = ++sequence_;
  message.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (const int error = send(message); error != 0) return error;
  for (;;) {
    pollfd waiting{.fd = fd(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kDumpTimeoutMs) == 0) return ETIMEDOUT;
    const ssize_t size = ::recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (size < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return errno;
    }
    const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    if (!mnl_nlmsg_ok(answer, static_cast<int>(size)) || answer->nlmsg_seq != sequence_) continue;
    if (answer->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(answer) < sizeof(nlmsgerr)) {
      return EPROTO;
    }
    return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(answer))->error;
  }
}

std::optional<net::IpAddress> address_from(const nlattr* attribute, std::uint8_t family) noexcept {
  if (attribute == nullptr) return std::nullopt;
  const auto size = mnl_attr_get_payload_len(attribute);
  const void* payload = mnl_attr_get_payload(attribute);
  if (family == AF_INET && size == 4) {
    std::uint32_t raw;
    std::memcpy(&raw, payload, sizeof(raw));
    return net::IpAddress::v4(net::Be32::from_network(raw));
  }
  if (family == AF_INET6 && size == 16) {
    std::array<std::uint8_t, 16> raw;
    std::memcpy(raw.data(), payload, raw.size());
    return net::IpAddress::v6(raw);
  }
  return std::nullopt;
}

}  // namespace lb::datapath
