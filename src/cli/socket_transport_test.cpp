// SPDX-License-Identifier: Apache-2.0
#include "cli/socket_transport.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <thread>

#include "wire/family.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/ipvs_server.hpp"

namespace lb::cli {
namespace {

// Of the process that runs the tests, also in its children.
const pid_t kTestProcess = ::getpid();

std::string test_name() {
  using std::string_literals::operator""s;
  return "\0sluice-test/"s + std::to_string(kTestProcess);
}

/// A listening socket with that abstract name, or -1.
int listen_on(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (listener < 0 ||
      ::bind(listener, std::bit_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())) != 0 ||
      ::listen(listener, 1) != 0) {
    return -1;
  }
  return listener;
}

/// Serves one client on `test_name()`: each request is handed to `answer`, which returns the
/// datagrams to send; none: the connection is closed.
class Listener {
 public:
  template <class Answer>
  explicit Listener(Answer answer) {
    socket_ = listen_on(test_name());
    EXPECT_GE(socket_, 0);
    thread_ = std::jthread([this, answer] {
      const int client = ::accept(socket_, nullptr, nullptr);
      std::vector<std::byte> buffer(65536);
      ssize_t size = 0;
      while ((size = ::recv(client, buffer.data(), buffer.size(), 0)) > 0) {
        const auto request = wire::view_message(
            std::span<const std::byte>(buffer).first(static_cast<std::size_t>(size)));
        const auto datagrams = answer(*request);
        if (datagrams.empty()) break;
        for (const auto& datagram : datagrams) {
          EXPECT_EQ(::send(client, datagram.data(), datagram.size(), MSG_NOSIGNAL),
                    static_cast<ssize_t>(datagram.size()));
        }
      }
      ::close(client);
    });
  }
  ~Listener() { ::close(socket_); }

 private:
  int socket_ = -1;
  std::jthread thread_;
};

TEST(SocketTransport, ReportsThatNobodyListens) {
  SocketTransport transport(test_name());
  const auto answer = transport.exchange(wire::info_request({.family = wire::kIpvsFamily}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ECONNREFUSED);
}

TEST(SocketTransport, CollectsADumpFromSeveralDatagrams) {
  if (::geteuid() != 0) GTEST_SKIP() << "the peer must be root";
  Listener listener([](const wire::MessageView& request) {
    std::vector<wire::Message> datagrams(3);
    for (int i = 0; i < 3; ++i) {
      wire::encode_service(datagrams[static_cast<std::size_t>(i / 2)], request, 0, 2, {});
    }
    wire::encode_done(datagrams[2], request, 0);
    return datagrams;
  });
  SocketTransport transport(test_name());
  for (std::uint32_t sequence = 1; sequence < 3; ++sequence) {
    const auto answer = transport.exchange(
        wire::list_services_request({.family = wire::kIpvsFamily, .sequence = sequence}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->size(), 4U);
    EXPECT_EQ(wire::read_services(*answer)->size(), 3U);
  }
}

TEST(SocketTransport, ReportsADaemonThatLeaves) {
  if (::geteuid() != 0) GTEST_SKIP() << "the peer must be root";
  Listener listener([](const wire::MessageView&) { return std::vector<wire::Message>(); });
  SocketTransport transport(test_name());
  const auto answer = transport.exchange(wire::info_request({.family = wire::kIpvsFamily}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ECONNRESET);
}

TEST(SocketTransport, TrustsOnlyRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  constexpr uid_t kNobody = 65534;
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // The kernel notes who listens. Only system calls here: the process was forked.
    const int listener = ::setuid(kNobody) == 0 ? listen_on(test_name()) : -1;
    const char done = listener >= 0 ? 'y' : 'n';
    static_cast<void>(::write(ready[1], &done, 1) == 1 && ::pause() == 0);
    ::_exit(0);
  }
  char done = 'n';
  EXPECT_EQ(::read(ready[0], &done, 1), 1);
  EXPECT_EQ(done, 'y');
  SocketTransport transport(test_name());
  const auto answer = transport.exchange(wire::info_request({.family = wire::kIpvsFamily}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, EACCES);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace lb::cli
