// SPDX-License-Identifier: Apache-2.0
#include "cli/socket_transport.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "wire/netlink.hpp"

namespace lb::cli {
namespace {

constexpr time_t kTimeoutSeconds = 30;
// The daemon sends at most about 16 KiB at once; a longer datagram would be cut by the kernel
// and is refused below.
constexpr std::size_t kDatagramSize = 256 * 1024;
// Requests that are sent together; the daemon reads up to 64 KiB at once.
constexpr std::size_t kBatchSize = 48 * 1024;
// Dumps that are asked for before their answers are read: far fewer than a socket holds, or both
// sides could wait for each other.
constexpr std::size_t kMaxDumps = 64;

/// Whether `message` is the last one of the answer to a request with `request_flags`.
bool ends_answer(const wire::MessageHeader& message, std::uint16_t request_flags) noexcept {
  if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE) return true;
  const bool more_follow = (request_flags & NLM_F_ACK) != 0 || (message.flags & NLM_F_MULTI) != 0;
  return !more_follow;
}

}  // namespace

SocketTransport::~SocketTransport() {
  close();
  if (peer_ >= 0) ::close(peer_);
}

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

Result<void> SocketTransport::ask(std::span<const Datagram> datagrams, std::span<Waiting> waiting) {
  if (socket_ < 0) {
    if (auto connected = connect(); !connected) return connected;
  }
  const auto fail = [this](int error) {
    close();  // what is still to come would be taken for the next answer
    return failure(error == EAGAIN ? ETIMEDOUT : error);
  };
  for (const auto& datagram : datagrams) {
    if (::send(socket_, datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0) return fail(errno);
  }

  std::size_t answered = 0;
  received_.resize(kDatagramSize);
  while (answered < waiting.size()) {
    const ssize_t size = ::recv(socket_, received_.data(), received_.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail(errno);
    if (size == 0) return fail(ECONNRESET);
    if (static_cast<std::size_t>(size) > received_.size()) return fail(EMSGSIZE);
    auto rest = std::span<const std::byte>(received_).first(static_cast<std::size_t>(size));
    while (const auto message = wire::take_message(rest)) {
      if (answered == waiting.size()) break;
      // Answers come in the order of the requests.
      auto& next = waiting[answered];
      if (message->header.sequence != next.sequence) continue;
      next.answer.emplace_back(message->bytes.begin(), message->bytes.end());
      next.is_answered = ends_answer(message->header, next.flags);
      if (next.is_answered) ++answered;
    }
  }
  return {};
}

Result<void> SocketTransport::watch_peer() {
  if (socket_ < 0) {
    if (auto connected = connect(); !connected) return connected;
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return failure(errno);
  if (peer_ >= 0) ::close(peer_);
  // Its number can't be another process's: it answers after this. 0: it lives in another PID
  // namespace, and the end of the connection has to do.
  peer_ = peer.pid == 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0));
  return {};
}

Result<void> SocketTransport::wait_for_end(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return failure(ETIMEDOUT);
    // Nothing is asked meanwhile: what becomes readable is the end.
    pollfd watched{.fd = peer_ >= 0 ? peer_ : socket_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(left.count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return failure(errno);
  }
}

Result<std::vector<wire::Message>> SocketTransport::exchange(std::span<const std::byte> request) {
  const auto header = wire::view_message(request);
  if (!header) return failure(EINVAL);
  Waiting waiting{.sequence = header->header.sequence, .flags = header->header.flags};
  if (auto asked = ask(std::span(&request, 1), std::span(&waiting, 1)); !asked) {
    return tl::unexpected(asked.error());
  }
  return std::move(waiting.answer);
}

std::size_t SocketTransport::Batch::take(std::span<const wire::Message> requests) {
  bytes.clear();
  waiting.clear();
  datagrams.clear();
  std::size_t count = 0;
  for (; count < requests.size() && datagrams.size() < kMaxDumps; ++count) {
    const auto view = wire::view_message(requests[count]);
    if (!view) break;
    // Of dumps there can be one in a datagram; other requests share one.
    const bool is_dump = (view->header.flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (count != 0 && is_dump == datagrams.empty()) break;  // of the other kind
    if (is_dump) {
      datagrams.emplace_back(view->bytes);
    } else {
      if (count != 0 && bytes.size() + view->bytes.size() > kBatchSize) break;
      bytes.insert(bytes.end(), view->bytes.begin(), view->bytes.end());
      bytes.resize((bytes.size() + 3) / 4 * 4);
    }
    waiting.push_back({.sequence = view->header.sequence, .flags = view->header.flags});
  }
  if (!bytes.empty()) datagrams.emplace_back(bytes);
  return count;
}

std::vector<Result<std::vector<wire::Message>>> SocketTransport::exchange_all(
    std::span<const wire::Message> requests) {
  std::vector<Result<std::vector<wire::Message>>> answers;
  answers.reserve(requests.size());
  Batch batch;
  while (answers.size() < requests.size()) {
    if (batch.take(requests.subspan(answers.size())) == 0) {
      answers.emplace_back(failure(EINVAL));  // not a message
      continue;
    }
    const auto asked = ask(batch.datagrams, batch.waiting);
    for (auto& one : batch.waiting) {
      if (one.is_answered) {
        answers.emplace_back(std::move(one.answer));
      } else {
        answers.emplace_back(tl::unexpected(asked.error()));
      }
    }
    // Another connection would not go on where this one ended (in a transaction, say).
    if (!asked) answers.resize(requests.size(), tl::unexpected(asked.error()));
  }
  return answers;
}

}  // namespace lb::cli
