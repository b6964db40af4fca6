// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_sockets.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "daemon/event.hpp"
#include "daemon/file_descriptor.hpp"
#include "daemon/log.hpp"
#include "daemon/sync_address.hpp"

namespace lb::daemon {
namespace {

using model::SyncRole;

// Datagrams read before other work gets its turn.
constexpr int kBurst = 8;
constexpr std::size_t kLargestMessage = 65536;
// Senders that are counted; there are a few directors in a group.
constexpr std::size_t kMostSources = 64;

tl::unexpected<Error> last_error() { return failure(errno); }

template <class Value>
Result<void> set_option(int fd, int level, int name, const Value& value) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) return last_error();
  return {};
}

// A socket can be made with a step after the other; the first error ends it.
class SocketMaker {
 public:
  SocketMaker(const engine::SyncSockets& sockets, unsigned interface)
      : daemon_(sockets.daemon),
        buffer_size_(sockets.buffer_size),
        interface_(interface),
        is_v4_(daemon_.group.is_v4()),
        fd_(::socket(is_v4_ ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}

  Result<FileDescriptor> sender(std::uint16_t port) {
    if (!fd_) return last_error();
    const int off = 0;
    const int ttl = daemon_.ttl;
    if (auto done = set_buffer(SO_SNDBUF); !done) return tl::unexpected(done.error());
    if (is_v4_) {
      const ip_mreqn out = membership();
      const int may_fragment = IP_PMTUDISC_DONT;
      const auto done =
          set_option(fd_.get(), IPPROTO_IP, IP_MULTICAST_IF, out)
              .and_then([&] { return set(IPPROTO_IP, IP_MULTICAST_LOOP, off); })
              .and_then([&] { return set(IPPROTO_IP, IP_MULTICAST_TTL, ttl); })
              .and_then([&] { return set(IPPROTO_IP, IP_MTU_DISCOVER, may_fragment); });
      if (!done) return tl::unexpected(done.error());
    } else {
      const int out = static_cast<int>(interface_);
      const int may_fragment = IPV6_PMTUDISC_DONT;
      const auto done =
          set(IPPROTO_IPV6, IPV6_MULTICAST_IF, out)
              .and_then([&] { return set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, off); })
              .and_then([&] { return set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl); })
              .and_then([&] { return set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, may_fragment); });
      if (!done) return tl::unexpected(done.error());
    }
    const auto to = socket_address(daemon_.group, port, interface_);
    if (::connect(fd_.get(), to.get(), to.size) != 0) return last_error();
    return std::move(fd_);
  }

  Result<FileDescriptor> receiver(std::uint16_t port) {
    if (!fd_) return last_error();
    const int on = 1;
    if (auto done = set(SOL_SOCKET, SO_REUSEADDR, on); !done) return tl::unexpected(done.error());
    if (auto done = set_buffer(SO_RCVBUF); !done) return tl::unexpected(done.error());
    // Bound to the group, so that nothing else that comes to this port is heard; and to the
    // interface, since a group joined there is otherwise heard on every one.
    const std::string name(daemon_.interface.view());
    if (::setsockopt(fd_.get(), SOL_SOCKET, SO_BINDTODEVICE, name.c_str(),
                     static_cast<socklen_t>(name.size())) != 0) {
      return last_error();
    }
    const auto group = socket_address(daemon_.group, port, interface_);
    if (::bind(fd_.get(), group.get(), group.size) != 0) return last_error();
    if (is_v4_) {
      if (auto done = set(IPPROTO_IP, IP_ADD_MEMBERSHIP, membership()); !done) {
        return tl::unexpected(done.error());
      }
    } else {
      ipv6_mreq join{};
      std::memcpy(&join.ipv6mr_multiaddr, daemon_.group.bytes().data(),
                  sizeof join.ipv6mr_multiaddr);
      join.ipv6mr_interface = interface_;
      if (auto done = set(IPPROTO_IPV6, IPV6_JOIN_GROUP, join); !done) {
        return tl::unexpected(done.error());
      }
    }
    return std::move(fd_);
  }

 private:
  template <class Value>
  [[nodiscard]] Result<void> set(int level, int name, const Value& value) {
    return set_option(fd_.get(), level, name, value);
  }
  [[nodiscard]] Result<void> set_buffer(int name) {
    if (buffer_size_ <= 0) return {};
    return set(SOL_SOCKET, name, buffer_size_);
  }
  [[nodiscard]] ip_mreqn membership() const {
    ip_mreqn request{};
    request.imr_multiaddr.s_addr = daemon_.group.word(0).to_network();
    request.imr_ifindex = static_cast<int>(interface_);
    return request;
  }

  const model::SyncDaemonSpec& daemon_;
  std::int32_t buffer_size_;
  unsigned interface_;
  bool is_v4_;
  FileDescriptor fd_;
};

}  // namespace

struct SyncSockets::State {
  struct Listening {
    FileDescriptor fd;
    EventPtr readable;  // goes before the descriptor
  };

  event_base* base = nullptr;
  Receiver receive;
  std::vector<FileDescriptor> senders;
  std::vector<Listening> receivers;
  std::vector<std::byte> buffer = std::vector<std::byte>(kLargestMessage);
  struct Source {
    net::IpAddress address;
    std::uint64_t messages = 0;
  };
  std::vector<Source> sources;
  std::uint64_t failures = 0;
  int last_failure = 0;

  Result<void> listen(FileDescriptor fd);
  void read(int fd);
  void count(const net::IpAddress& source);
};

Result<void> SyncSockets::State::listen(FileDescriptor fd) {
  const auto on_readable = [](evutil_socket_t socket, short, void* who) {
    static_cast<State*>(who)->read(socket);
  };
  EventPtr readable(event_new(base, fd.get(), EV_READ | EV_PERSIST, on_readable, this));
  if (!readable || event_add(readable.get(), nullptr) != 0) return failure(ENOMEM);
  receivers.push_back({std::move(fd), std::move(readable)});
  return {};
}

void SyncSockets::State::read(int fd) {
  for (int i = 0; i < kBurst; ++i) {
    SocketAddress from;
    from.size = sizeof from.storage;
    const auto size = ::recvfrom(fd, buffer.data(), buffer.size(), 0, from.put(), &from.size);
    if (size < 0) return;  // nothing more, or an ICMP error that is told once
    count(ip_address(from));
    receive(std::span(buffer).first(static_cast<std::size_t>(size)));
  }
}

void SyncSockets::State::count(const net::IpAddress& source) {
  for (auto& known : sources) {
    if (known.address == source) {
      ++known.messages;
      return;
    }
  }
  if (sources.size() < kMostSources) sources.push_back({.address = source, .messages = 1});
}

SyncSockets::SyncSockets(event_base* base, Receiver receive) : state_(std::make_unique<State>()) {
  state_->base = base;
  state_->receive = std::move(receive);
}

SyncSockets::~SyncSockets() = default;

Result<void> SyncSockets::open(const engine::SyncSockets& sockets) noexcept {
  const auto& daemon = sockets.daemon;
  const auto interface = ::if_nametoindex(std::string(daemon.interface.view()).c_str());
  if (interface == 0) return failure(ENODEV);
  for (unsigned i = 0; i < sockets.ports; ++i) {
    SocketMaker maker(sockets, interface);
    const auto port = static_cast<std::uint16_t>(daemon.port + i);
    const bool is_master = daemon.role == SyncRole::kMaster;
    auto made = is_master ? maker.sender(port) : maker.receiver(port);
    Result<void> done;
    if (!made) {
      done = tl::unexpected(made.error());
    } else if (is_master) {
      state_->senders.push_back(*std::move(made));
    } else {
      done = state_->listen(*std::move(made));
    }
    if (!done) {
      close(daemon.role);
      log(LogLevel::kError,
          fmt::format("the sync daemon cannot use {} port {}: {}", daemon.group.to_text(), port,
                      std::strerror(done.error().code)));
      return done;
    }
  }
  return {};
}

void SyncSockets::close(SyncRole role) noexcept {
  if (role == SyncRole::kMaster) {
    state_->senders.clear();
  } else {
    state_->receivers.clear();
  }
}

void SyncSockets::send(unsigned port, std::span<const std::byte> message) noexcept {
  if (port >= state_->senders.size()) return;
  const auto sent = ::send(state_->senders[port].get(), message.data(), message.size(), 0);
  const int error = sent < 0 ? errno : 0;
  if (error == 0) {
    state_->last_failure = 0;
    return;
  }
  ++state_->failures;
  // Once for each kind of trouble, not for each message.
  if (std::exchange(state_->last_failure, error) != error) {
    log(LogLevel::kWarning, fmt::format("a sync message is lost: {}", std::strerror(error)));
  }
}

std::uint64_t SyncSockets::received_from(const net::IpAddress& source) const noexcept {
  for (const auto& known : state_->sources) {
    if (known.address == source) return known.messages;
  }
  return 0;
}

net::IpAddress SyncSockets::source() const noexcept {
  if (state_->senders.empty()) return {};
  SocketAddress own;
  own.size = sizeof own.storage;
  if (::getsockname(state_->senders[0].get(), own.put(), &own.size) != 0) return {};
  return ip_address(own);
}

std::uint64_t SyncSockets::send_failures() const noexcept { return state_->failures; }

}  // namespace lb::daemon
