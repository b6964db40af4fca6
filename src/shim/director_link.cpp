// SPDX-License-Identifier: Apache-2.0
#include "shim/director_link.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "shim/next.hpp"
#include "wire/socket_name.hpp"

namespace lb::shim {
namespace {

// The daemon sends at most about 16 KiB at once; a longer datagram would be cut by the kernel and
// is refused below.
constexpr std::size_t kDatagramSize = 64 * 1024;

/// A descriptor that is closed without a detour.
class Owned {
 public:
  explicit Owned(int fd) noexcept : fd_(fd) {}
  ~Owned() {
    if (fd_ >= 0) LB_NEXT(close)(fd_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

bool is_same_file(int one, int other) noexcept {
  struct stat a {};
  struct stat b {};
  return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

int unix_socket() noexcept { return LB_NEXT(socket)(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); }

/// A socket belongs to the namespace in which it is made. A program may open its netlink socket in
/// another namespace, come back, and speak first then (keepalived's `net_namespace_ipvs').
int unix_socket_beside(int sibling) noexcept {
  if (sibling < 0) return unix_socket();
  const Owned wanted(::ioctl(sibling, SIOCGSKNS));
  if (wanted.get() < 0) return unix_socket();
  const Owned own(LB_NEXT(open)("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (own.get() < 0 || is_same_file(own.get(), wanted.get())) return unix_socket();
  if (::setns(wanted.get(), CLONE_NEWNET) != 0) return unix_socket();
  const int made = unix_socket();
  const int error = errno;
  // Whoever could leave can come back; a thread that is lost in another namespace would be worse
  // than any answer.
  if (::setns(own.get(), CLONE_NEWNET) != 0) ::abort();
  errno = error;
  return made;
}

}  // namespace

Result<int> connect_director(int sibling) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  constexpr auto kName = wire::kControlSocketName;
  static_assert(kName.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, kName.data(), kName.size());
  constexpr auto kLength = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + kName.size());

  Owned made(unix_socket_beside(sibling));
  if (made.get() < 0) return failure(errno);
  const timeval timeout{.tv_sec = kAnswerSeconds, .tv_usec = 0};
  ucred peer{};
  socklen_t peer_size = sizeof peer;
  const auto set = LB_NEXT(setsockopt);
  if (set(made.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
      set(made.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 ||
      LB_NEXT(connect)(made.get(), std::bit_cast<const sockaddr*>(&address), kLength) != 0 ||
      LB_NEXT(getsockopt)(made.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0) {
    return failure(errno);
  }
  if (peer.uid != 0) return failure(EACCES);
  return made.release();
}

DirectorLink::~DirectorLink() {
  if (socket_ >= 0) LB_NEXT(close)(socket_);
}

Result<void> DirectorLink::converse(std::span<const std::byte> request, const Visit& visit) {
  if (socket_ < 0) {
    const auto connected = connect_director(sibling_);
    if (!connected) return tl::unexpected(connected.error());
    socket_ = *connected;
  }
  if (LB_NEXT(send)(socket_, request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return failure(errno);
  }
  std::vector<std::byte> datagram(kDatagramSize);
  while (true) {
    const auto size = LB_NEXT(recv)(socket_, datagram.data(), datagram.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failure(errno == EAGAIN ? ETIMEDOUT : errno);
    if (size == 0) return failure(ECONNRESET);
    if (static_cast<std::size_t>(size) > datagram.size()) return failure(EMSGSIZE);
    auto rest = std::span<const std::byte>(datagram).first(static_cast<std::size_t>(size));
    while (const auto message = wire::take_message(rest)) {
      if (const auto result = visit(*message); !result) return result;
      // Every request of this class asks for an acknowledgement or a dump.
      const auto type = message->header.type;
      if (type == NLMSG_ERROR || type == NLMSG_DONE) return {};
    }
  }
}

Result<std::vector<wire::Message>> DirectorLink::exchange(std::span<const std::byte> request) {
  std::vector<wire::Message> answer;
  const auto result = converse(request, [&](const wire::MessageView& message) -> Result<void> {
    answer.emplace_back(message.bytes.begin(), message.bytes.end());
    return {};
  });
  if (!result) return tl::unexpected(result.error());
  return answer;
}

Result<void> DirectorLink::stream(std::span<const std::byte> request, const Visit& visit) {
  Result<void> ended;
  const auto result = converse(request, [&](const wire::MessageView& message) {
    const auto type = message.header.type;
    if (type != NLMSG_ERROR && type != NLMSG_DONE) return visit(message);
    const wire::Message last(message.bytes.begin(), message.bytes.end());
    ended = wire::outcome({&last, 1});
    return Result<void>{};
  });
  return result ? ended : result;
}

Result<wire::RequestContext> DirectorLink::context(std::string_view family) {
  const auto answer = exchange(wire::family_request(family));
  if (!answer) return tl::unexpected(answer.error());
  const auto id = wire::read_family_id(*answer);
  if (!id) return tl::unexpected(id.error());
  return wire::RequestContext{.family = *id};
}

}  // namespace lb::shim
