// SPDX-License-Identifier: Apache-2.0
#include "cli/socket_transport.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "wire/netlink.hpp"

namespace lb::cli {
namespace {

constexpr time_t kTimeoutSeconds = 30;
// The daemon sends at most about 16 KiB at once; a longer datagram would be cut by the kernel
// and is refused below.
constexpr std::size_t kDatagramSize = 256 * 1024;

/// Whether `message` is the last one of the answer to a request with `request_flags`.
bool ends_answer(const wire::MessageHeader& message, std::uint16_t request_flags) noexcept {
  if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE) return true;
  const bool more_follow = (request_flags & NLM_F_ACK) != 0 || (message.flags & NLM_F_MULTI) != 0;
  return !more_follow;
}

}  // namespace

SocketTransport::~SocketTransport() { close(); }

void SocketTransport::close() noexcept {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

Result<void> SocketTransport::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name_.empty() || name_.size() >= sizeof address.sun_path) return failure(ENAMETOOLONG);
  std::memcpy(address.sun_path, name_.data(), name_.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());

  socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return failure(errno);
  const timeval timeout{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
  ucred peer{};
  socklen_t peer_size = sizeof peer;
  if (::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
      ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 ||
      ::connect(socket_, std::bit_cast<const sockaddr*>(&address), length) != 0 ||
      ::getsockopt(socket_, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0) {
    const int error = errno;
    close();
    return failure(error);
  }
  if (peer.uid != 0) {
    close();
    return failure(EACCES);
  }
  return {};
}

Result<std::vector<wire::Message>> SocketTransport::exchange(std::span<const std::byte> request) {
  const auto header = wire::view_message(request);
  if (!header) return failure(EINVAL);
  if (socket_ < 0) {
    if (auto connected = connect(); !connected) return tl::unexpected(connected.error());
  }
  const auto fail = [this](int error) {
    close();  // what is still to come would be taken for the next answer
    return failure(error == EAGAIN ? ETIMEDOUT : error);
  };
  if (::send(socket_, request.data(), request.size(), MSG_NOSIGNAL) < 0) return fail(errno);

  std::vector<wire::Message> answer;
  std::vector<std::byte> datagram(kDatagramSize);
  while (true) {
    const ssize_t size = ::recv(socket_, datagram.data(), datagram.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail(errno);
    if (size == 0) return fail(ECONNRESET);
    if (static_cast<std::size_t>(size) > datagram.size()) return fail(EMSGSIZE);
    auto rest = std::span<const std::byte>(datagram).first(static_cast<std::size_t>(size));
    while (const auto message = wire::take_message(rest)) {
      if (message->header.sequence != header->header.sequence) continue;
      answer.emplace_back(message->bytes.begin(), message->bytes.end());
      if (ends_answer(message->header, header->header.flags)) return answer;
    }
  }
}

}  // namespace lb::cli
