// SPDX-License-Identifier: Apache-2.0
#include "shim/netlink_socket.hpp"

#include <fcntl.h>
#include <linux/genetlink.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <exception>
#include <span>

#include "net/bytes.hpp"
#include "shim/director_link.hpp"
#include "shim/hint.hpp"
#include "shim/next.hpp"
#include "wire/family.hpp"

namespace lb::shim {
namespace {

// What sluiced takes at once.
constexpr std::size_t kMaxRequest = 64 * 1024;

int fail(int error) noexcept {
  errno = error;
  return -1;
}

wire::Message gather(const msghdr& message) {
  wire::Message bytes;
  for (const auto& part : std::span(message.msg_iov, message.msg_iovlen)) {
    const auto data = std::span(static_cast<const std::byte*>(part.iov_base), part.iov_len);
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  return bytes;
}

std::size_t total_size(const msghdr& message) noexcept {
  std::size_t size = 0;
  for (const auto& part : std::span(message.msg_iov, message.msg_iovlen)) size += part.iov_len;
  return size;
}

sockaddr_nl netlink_address(std::uint32_t port_id) noexcept {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port_id;
  return address;
}

/// Whether `message` is for the kernel, and not for another program.
bool is_for_kernel(const msghdr& message) noexcept {
  sockaddr_nl address{};
  if (message.msg_name == nullptr || message.msg_namelen < sizeof address) return true;
  std::memcpy(&address, message.msg_name, sizeof address);
  return address.nl_pid == 0;
}

bool looks_up_our_family(std::span<const std::byte> bytes) {
  const auto message = wire::view_message(bytes);
  if (!message || !message->has_command || message->header.type != wire::kControllerFamily ||
      message->header.command != CTRL_CMD_GETFAMILY ||
      (message->header.flags & NLM_F_DUMP) == NLM_F_DUMP) {
    return false;
  }
  const auto family = wire::parse_family_request(*message);
  // By number it may be a family of the kernel's.
  return family.has_value() &&
         std::search(message->attributes.begin(), message->attributes.end(),
                     std::as_bytes(std::span((*family)->name)).begin(),
                     std::as_bytes(std::span((*family)->name)).end()) != message->attributes.end();
}

/// The port id that the kernel gave to a netlink socket, which is bound if it was not.
std::uint32_t kernel_port_id(int fd) noexcept {
  auto address = netlink_address(0);
  socklen_t length = sizeof address;
  auto* raw = static_cast<sockaddr*>(static_cast<void*>(&address));
  LB_NEXT(getsockname)(fd, raw, &length);
  if (address.nl_pid != 0) return address.nl_pid;
  address = netlink_address(0);
  LB_NEXT(bind)(fd, raw, sizeof address);
  length = sizeof address;
  LB_NEXT(getsockname)(fd, raw, &length);
  return address.nl_pid;
}

/// Connects to the director and puts the connection in place of `fd`.
Result<void> connect_in_place(int fd, Descriptor& descriptor) noexcept {
  const auto connected = connect_director(fd);
  if (!connected) return tl::unexpected(connected.error());
  timeval timeout{};
  socklen_t length = sizeof timeout;
  const bool has_timeout =
      LB_NEXT(getsockopt)(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &length) == 0 &&
      (timeout.tv_sec != 0 || timeout.tv_usec != 0);
  const bool is_first = descriptor.role.load(std::memory_order_relaxed) == Role::kUndecided;
  if (is_first) {
    descriptor.port_id = kernel_port_id(fd);
    descriptor.has_own_timeout = has_timeout;
  }
  if (descriptor.has_own_timeout && has_timeout) {
    LB_NEXT(setsockopt)(*connected, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  }
  if (!replace(fd, *connected, Role::kDirector)) return failure(EBADF);
  return {};
}

/// The kernel's netlink fills in the sender of a message that names none.
void sign(wire::Message& bytes, std::uint32_t port_id) {
  constexpr std::size_t kPortAt = offsetof(nlmsghdr, nlmsg_pid);
  std::span<const std::byte> rest = bytes;
  while (true) {
    const auto at = bytes.size() - rest.size();
    const auto message = wire::take_message(rest);
    if (!message) return;
    if (message->header.port_id == 0) net::store(bytes, at + kPortAt, port_id);
  }
}

/// Asks for a family of another name instead, which the kernel does not have.
void misname(wire::Message& bytes) {
  for (const auto& family : wire::families()) {
    const auto name = std::as_bytes(std::span(family.name));
    const auto found = std::search(bytes.begin(), bytes.end(), name.begin(), name.end());
    if (found != bytes.end()) *found = std::byte{'-'};
  }
}

ssize_t send_to_director(int fd, Descriptor& descriptor, wire::Message& bytes, int flags) {
  sign(bytes, descriptor.port_id);
  std::memcpy(&descriptor.request, bytes.data(), std::min(bytes.size(), sizeof descriptor.request));
  descriptor.has_failed = false;
  auto sent = LB_NEXT(send)(fd, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)) {
    // sluiced was restarted. The next request goes to the new one.
    const auto connected = connect_in_place(fd, descriptor);
    if (!connected) {
      hint(connected.error());
      descriptor.has_failed = true;
      descriptor.error = connected.error().code;
    } else {
      sent = LB_NEXT(send)(fd, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
    }
  }
  if (sent < 0 && !descriptor.has_failed) return -1;
  descriptor.is_waiting = true;
  return static_cast<ssize_t>(bytes.size());
}

ssize_t send_bytes(int fd, Descriptor& descriptor, const msghdr& message, int flags) {
  const auto size = total_size(message);
  const bool is_undecided = descriptor.role.load(std::memory_order_relaxed) == Role::kUndecided;
  if (is_undecided && (size > kMaxRequest || !is_for_kernel(message))) {
    forget(fd);
    return LB_NEXT(sendmsg)(fd, &message, flags);
  }
  if (size > kMaxRequest) return fail(EMSGSIZE);
  auto bytes = gather(message);
  if (!is_undecided) {
    return size < sizeof(nlmsghdr) ? static_cast<ssize_t>(size)  // as the kernel: no answer
                                   : send_to_director(fd, descriptor, bytes, flags);
  }
  if (!looks_up_our_family(bytes)) {
    forget(fd);
    return LB_NEXT(sendmsg)(fd, &message, flags);
  }
  const auto connected = connect_in_place(fd, descriptor);
  if (connected) return send_to_director(fd, descriptor, bytes, flags);
  hint(connected.error());
  misname(bytes);
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  auto other = message;
  other.msg_iov = &part;
  other.msg_iovlen = 1;
  return LB_NEXT(sendmsg)(fd, &other, flags);
}

/// Whether the answer to the last request ends in these bytes (which may be cut).
bool ends_answer(const Descriptor& descriptor, const msghdr& message, std::size_t size) {
  for (const auto& part : std::span(message.msg_iov, message.msg_iovlen)) {
    auto bytes =
        std::span(static_cast<const std::byte*>(part.iov_base), std::min(part.iov_len, size));
    size -= bytes.size();
    while (const auto view = wire::take_message(bytes)) {
      const auto type = view->header.type;
      if (view->header.sequence != descriptor.request.nlmsg_seq) continue;
      if (type == NLMSG_ERROR || type == NLMSG_DONE) return true;
    }
  }
  return false;
}

/// The answer that did not come.
ssize_t receive_failure(Descriptor& descriptor, msghdr& message, int flags, int error) noexcept {
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  answer.header = {.nlmsg_len = sizeof answer,
                   .nlmsg_type = NLMSG_ERROR,
                   .nlmsg_flags = 0,
                   .nlmsg_seq = descriptor.request.nlmsg_seq,
                   .nlmsg_pid = descriptor.port_id};
  answer.error.error = -error;
  answer.error.msg = descriptor.request;
  std::size_t done = 0;
  for (const auto& part : std::span(message.msg_iov, message.msg_iovlen)) {
    const auto count = std::min(part.iov_len, sizeof answer - done);
    std::memcpy(part.iov_base, static_cast<const char*>(static_cast<const void*>(&answer)) + done,
                count);
    done += count;
  }
  message.msg_flags = done < sizeof answer ? MSG_TRUNC : 0;
  if ((flags & MSG_PEEK) == 0) {
    descriptor.is_waiting = false;
    descriptor.has_failed = false;
  }
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? sizeof answer : done);
}

void fill_sender(msghdr& message, socklen_t room) noexcept {
  message.msg_controllen = 0;
  if (message.msg_name == nullptr) return;
  const auto address = netlink_address(0);
  std::memcpy(message.msg_name, &address, std::min<std::size_t>(room, sizeof address));
  message.msg_namelen = sizeof address;
}

ssize_t receive(int fd, Descriptor& descriptor, msghdr& message, int flags) noexcept {
  if (descriptor.has_failed) {
    return receive_failure(descriptor, message, flags, descriptor.error);
  }
  const auto size = LB_NEXT(recvmsg)(fd, &message, flags);
  if (size > 0) {
    if ((flags & MSG_PEEK) == 0 && descriptor.is_waiting &&
        ends_answer(descriptor, message, static_cast<std::size_t>(size))) {
      descriptor.is_waiting = false;
    }
    return size;
  }
  const int error = size == 0 ? ECONNRESET : errno;
  if (error == EAGAIN) {
    const int status = LB_NEXT(fcntl)(fd, F_GETFL);
    const bool may_not_wait = (flags & MSG_DONTWAIT) != 0 || (status & O_NONBLOCK) != 0;
    if (may_not_wait || descriptor.has_own_timeout) return fail(EAGAIN);
    // An idle socket would wait for ever, and so may this one.
    if (!descriptor.is_waiting) return fail(EAGAIN);
    // The answer must not come later, in place of that to another request.
    ::shutdown(fd, SHUT_RDWR);
    return receive_failure(descriptor, message, flags, ETIMEDOUT);
  }
  if ((error != ECONNRESET && error != EPIPE && error != ENOTCONN) || !descriptor.is_waiting) {
    return fail(error);
  }
  return receive_failure(descriptor, message, flags, ECONNRESET);
}

int give_address(std::uint32_t port_id, sockaddr* address, socklen_t* length) noexcept {
  if (address == nullptr || length == nullptr) return fail(EFAULT);
  const auto own = netlink_address(port_id);
  std::memcpy(address, &own, std::min<std::size_t>(*length, sizeof own));
  *length = sizeof own;
  return 0;
}

}  // namespace

ssize_t send_message(int fd, Descriptor& descriptor, const msghdr& message, int flags) noexcept {
  try {
    return send_bytes(fd, descriptor, message, flags);
  } catch (const std::exception&) {  // no memory
    return fail(ENOBUFS);
  }
}

ssize_t receive_message(int fd, Descriptor& descriptor, msghdr& message, int flags) noexcept {
  const auto room = message.msg_namelen;
  const auto size = receive(fd, descriptor, message, flags);
  if (size >= 0) fill_sender(message, room);
  return size;
}

int bind_socket(Descriptor& descriptor, const sockaddr* address, socklen_t length) noexcept {
  sockaddr_nl wanted{};
  if (address == nullptr || length < sizeof wanted) return fail(EINVAL);
  std::memcpy(&wanted, address, sizeof wanted);
  if (wanted.nl_family != AF_NETLINK) return fail(EINVAL);
  if (wanted.nl_pid != 0) descriptor.port_id = wanted.nl_pid;
  return 0;
}

int own_address(const Descriptor& descriptor, sockaddr* address, socklen_t* length) noexcept {
  return give_address(descriptor.port_id, address, length);
}

int peer_address(sockaddr* address, socklen_t* length) noexcept {
  return give_address(0, address, length);
}

int set_option(int fd, Descriptor& descriptor, int level, int option, const void* value,
               socklen_t length) noexcept {
  // Acknowledgements and errors always come in the one form; sluiced has no groups to join.
  if (level == SOL_NETLINK) return 0;
  if (level == SOL_SOCKET && option == SO_RCVTIMEO) descriptor.has_own_timeout = true;
  return LB_NEXT(setsockopt)(fd, level, option, value, length);
}

int get_option(int fd, int level, int option, void* value, socklen_t* length) noexcept {
  if (level == SOL_NETLINK) return fail(ENOPROTOOPT);
  const auto is_about_kind =
      level == SOL_SOCKET && (option == SO_DOMAIN || option == SO_TYPE || option == SO_PROTOCOL);
  if (!is_about_kind) return LB_NEXT(getsockopt)(fd, level, option, value, length);
  if (value == nullptr || length == nullptr) return fail(EFAULT);
  const int kind = option == SO_DOMAIN ? AF_NETLINK
                   : option == SO_TYPE ? SOCK_RAW
                                       : NETLINK_GENERIC;
  const auto size = std::min<socklen_t>(*length, sizeof kind);
  std::memcpy(value, &kind, size);
  *length = size;
  return 0;
}

}  // namespace lb::shim
