// SPDX-License-Identifier: Apache-2.0
#include "cli/socket_transport.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

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

/// Serves one client on `test_name()`: each request, several of which may share a datagram, is
/// handed to `answer`, which returns the datagrams to send; none: the connection is closed.
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
      bool is_open = true;
      while (is_open && (size = ::recv(client, buffer.data(), buffer.size(), 0)) > 0) {
        ++received_;
        auto rest = std::span<const std::byte>(buffer).first(static_cast<std::size_t>(size));
        while (const auto request = wire::take_message(rest)) {
          const auto datagrams = answer(*request);
          is_open = !datagrams.empty();
          if (!is_open) break;
          for (const auto& datagram : datagrams) {
            EXPECT_EQ(::send(client, datagram.data(), datagram.size(), MSG_NOSIGNAL),
                      static_cast<ssize_t>(datagram.size()));
          }
        }
      }
      ::close(client);
    });
  }
  ~Listener() { ::close(socket_); }
  /// Datagrams so far.
  [[nodiscard]] std::size_t received() const { return received_; }

 private:
  int socket_ = -1;
  std::atomic<std::size_t> received_ = 0;
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

constexpr std::uint32_t kMany = 1000;

std::vector<wire::Message> many_requests() {
  std::vector<wire::Message> requests;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    requests.push_back(
        wire::add_service_request({.family = wire::kIpvsFamily, .sequence = i + 1}, {}));
  }
  return requests;
}

std::vector<wire::Message> acknowledged(const wire::MessageView& request, int error) {
  std::vector<wire::Message> datagrams(1);
  wire::encode_error(datagrams[0], request, error, 0);
  return datagrams;
}

TEST(SocketTransport, ManyRequestsShareDatagrams) {
  if (::geteuid() != 0) GTEST_SKIP() << "the peer must be root";
  Listener listener([](const wire::MessageView& request) {
    return acknowledged(request, request.header.sequence % 7 == 0 ? EEXIST : 0);
  });
  SocketTransport transport(test_name());
  const auto answers = transport.exchange_all(many_requests());
  ASSERT_EQ(answers.size(), kMany);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(answers[i]);
    const auto result = wire::outcome(*answers[i]);
    EXPECT_EQ(result ? 0 : result.error().code, (i + 1) % 7 == 0 ? EEXIST : 0) << i;
  }
  EXPECT_LT(listener.received(), kMany / 20);
}

TEST(SocketTransport, DumpsAreAskedForAhead) {
  if (::geteuid() != 0) GTEST_SKIP() << "the peer must be root";
  Listener listener([](const wire::MessageView& request) {
    std::vector<wire::Message> datagrams(1);
    model::DestinationInfo info;
    info.spec.weight = static_cast<std::int32_t>(request.header.sequence);
    wire::encode_destination(datagrams[0], request, 0, 2, info);
    wire::encode_done(datagrams[0], request, 0);
    return datagrams;
  });
  SocketTransport transport(test_name());
  std::vector<wire::Message> requests;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    requests.push_back(
        wire::list_destinations_request({.family = wire::kIpvsFamily, .sequence = i + 1}, {}));
  }
  const auto answers = transport.exchange_all(requests);
  ASSERT_EQ(answers.size(), kMany);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(answers[i]);
    EXPECT_EQ(wire::read_destinations(*answers[i])->at(0).spec.weight,
              static_cast<std::int32_t>(i + 1));
  }
}

// What comes behind must not reach another daemon, which knows nothing of a transaction begun here.
TEST(SocketTransport, NothingIsSentBehindADaemonThatLeaves) {
  if (::geteuid() != 0) GTEST_SKIP() << "the peer must be root";
  constexpr std::uint32_t kLast = 300;
  Listener listener([](const wire::MessageView& request) {
    return request.header.sequence <= kLast ? acknowledged(request, 0)
                                            : std::vector<wire::Message>();
  });
  SocketTransport transport(test_name());
  const auto answers = transport.exchange_all(many_requests());
  ASSERT_EQ(answers.size(), kMany);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(answers[i].has_value(), i < kLast) << i;
    if (!answers[i]) {
      EXPECT_EQ(answers[i].error().code, ECONNRESET);
    }
  }
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
