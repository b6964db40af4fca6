// SPDX-License-Identifier: Apache-2.0
#include "daemon/control_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "daemon/away_time.hpp"
#include "daemon/event.hpp"
#include "daemon/file_descriptor.hpp"
#include "daemon/unix_address.hpp"

namespace lb::daemon {
namespace {

using testing::HasSubstr;

constexpr std::size_t kPieceSize = 8 * 1024;

/// An answer of `pieces` datagrams, each with its number in front.
class LongAnswer : public control::Answer {
 public:
  LongAnswer(std::uint32_t pieces, int& alive, std::size_t& made)
      : pieces_(pieces), alive_(alive), made_(made) {
    ++alive_;
  }
  ~LongAnswer() override { --alive_; }
  bool next(std::vector<std::byte>& datagram) override {
    if (written_ == pieces_) return false;
    datagram.assign(kPieceSize, std::byte{});
    std::memcpy(datagram.data(), &written_, sizeof(written_));
    ++written_;
    ++made_;
    return true;
  }

 private:
  std::uint32_t pieces_;
  std::uint32_t written_ = 0;
  int& alive_;
  std::size_t& made_;
};

/// A server whose answers have as many pieces as the request's sequence number says.
class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: the peer of each client is checked";
    options_.name = "sluice-test/" + std::to_string(::getpid());
    start();
  }

  void start() {
    auto created = ControlServer::create(
        base_.get(), options_,
        [this](std::span<const std::byte> datagram, std::uint32_t port_id,
               control::Session&) -> std::unique_ptr<control::Answer> {
          nlmsghdr header{};
          std::memcpy(&header, datagram.data(), sizeof(header));
          port_ids_.push_back(port_id);
          return std::make_unique<LongAnswer>(header.nlmsg_seq, answers_alive_, pieces_made_);
        });
    ASSERT_TRUE(created) << created.error();
    server_ = *std::move(created);
  }

  [[nodiscard]] FileDescriptor connect() const {
    FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const AbstractAddress address(options_.name);
    EXPECT_EQ(::connect(socket.get(), address.get(), address.length), 0) << std::strerror(errno);
    return socket;
  }

  /// Runs the loop until it has nothing to do.
  void settle() const {
    for (int i = 0; i < 20; ++i) event_base_loop(base_.get(), EVLOOP_NONBLOCK);
  }

  static void request(const FileDescriptor& client, std::uint32_t pieces,
                      std::uint32_t port_id = 0) {
    const nlmsghdr header{.nlmsg_len = sizeof(nlmsghdr),
                          .nlmsg_type = 0x20,
                          .nlmsg_flags = 0,
                          .nlmsg_seq = pieces,
                          .nlmsg_pid = port_id};
    ASSERT_EQ(::send(client.get(), &header, sizeof(header), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(header)));
  }

  /// The number in front of the next datagram; null: nothing is there.
  static std::optional<std::uint32_t> read_piece(const FileDescriptor& client) {
    std::vector<std::byte> buffer(kPieceSize + 1);
    const auto size = ::recv(client.get(), buffer.data(), buffer.size(), 0);
    if (size != static_cast<ssize_t>(kPieceSize)) return {};
    std::uint32_t number = 0;
    std::memcpy(&number, buffer.data(), sizeof(number));
    return number;
  }

  static bool is_closed(const FileDescriptor& client) {
    std::byte one{};
    const auto size = ::recv(client.get(), &one, 1, MSG_PEEK);
    return size == 0 || (size < 0 && errno == ECONNRESET);
  }

  EventBasePtr base_{event_base_new()};
  ControlServer::Options options_;
  int answers_alive_ = 0;
  std::size_t pieces_made_ = 0;
  std::vector<std::uint32_t> port_ids_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, ASecondServerOfTheSameNameIsRefused) {
  const auto second = ControlServer::create(base_.get(), options_, {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr("another sluiced serves this network namespace"));
}

TEST_F(ControlServerTest, TheNameIsFreeWhenTheServerIsGone) {
  server_.reset();
  start();
  EXPECT_NE(server_, nullptr);
}

TEST_F(ControlServerTest, AnswersTheRequestsOfSeveralClients) {
  const auto first = connect();
  const auto second = connect();
  request(first, 1, 4711);
  request(second, 2);
  settle();
  EXPECT_EQ(read_piece(first), 0U);
  EXPECT_EQ(read_piece(second), 0U);
  EXPECT_EQ(read_piece(second), 1U);
  EXPECT_EQ(server_->client_count(), 2U);
  // A client without a port id of its own is known by its process.
  EXPECT_THAT(port_ids_,
              testing::UnorderedElementsAre(4711U, static_cast<std::uint32_t>(::getpid())));
}

TEST_F(ControlServerTest, AClientThatDoesNotReadHoldsUpNobodyAndLosesNothing) {
  const auto slow = connect();
  request(slow, 1000);
  settle();
  EXPECT_EQ(answers_alive_, 1) << "8 MB cannot have been taken by a socket";

  const auto other = connect();
  request(other, 1);
  settle();
  EXPECT_EQ(read_piece(other), 0U);

  std::uint32_t expected = 0;
  for (int idle = 0; idle < 2;) {
    const auto piece = read_piece(slow);
    if (!piece) {
      ++idle;
      settle();
      continue;
    }
    idle = 0;
    ASSERT_EQ(*piece, expected);
    ++expected;
  }
  EXPECT_EQ(expected, 1000U);
  EXPECT_EQ(answers_alive_, 0);
}

TEST_F(ControlServerTest, AClientThatLeavesInTheMiddleIsForgotten) {
  {
    const auto client = connect();
    request(client, 1000);
    settle();
    EXPECT_EQ(server_->client_count(), 1U);
  }
  settle();
  EXPECT_EQ(server_->client_count(), 0U);
  EXPECT_EQ(answers_alive_, 0);
}

TEST_F(ControlServerTest, RequestsSentAheadAreAnsweredInOrder) {
  const auto client = connect();
  request(client, 1, 1);
  request(client, 1, 2);
  request(client, 1, 3);
  settle();
  EXPECT_THAT(port_ids_, testing::ElementsAre(1U, 2U, 3U));
}

TEST_F(ControlServerTest, ClientsBeyondTheLimitAreTurnedAway) {
  server_.reset();
  options_.max_clients = 2;
  start();
  const auto first = connect();
  const auto second = connect();
  const auto third = connect();
  settle();
  EXPECT_FALSE(is_closed(first));
  EXPECT_FALSE(is_closed(second));
  EXPECT_TRUE(is_closed(third));
}

TEST_F(ControlServerTest, ARequestThatIsTooLongEndsTheConnection) {
  const auto client = connect();
  const std::vector<std::byte> huge(100 * 1024);
  ASSERT_EQ(::send(client.get(), huge.data(), huge.size(), 0), static_cast<ssize_t>(huge.size()));
  settle();
  EXPECT_TRUE(is_closed(client));
  EXPECT_TRUE(port_ids_.empty());
}

TEST_F(ControlServerTest, BytesThatAreNoMessageAreIgnored) {
  const auto client = connect();
  ASSERT_EQ(::send(client.get(), "x", 1, 0), 1);
  request(client, 1);
  settle();
  EXPECT_EQ(read_piece(client), 0U);
}

/// Packets are stood in for by a socket that is always readable.
class SharesOfTheLoop : public ControlServerTest {
 protected:
  void begin() {
    server_.reset();
    start();
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    near_ = FileDescriptor(ends[0]);
    far_ = FileDescriptor(ends[1]);
    ASSERT_EQ(::send(far_.get(), "x", 1, 0), 1);
    const auto on_packets = [](evutil_socket_t, short, void* who) {
      static_cast<SharesOfTheLoop*>(who)->visit();
    };
    packets_.reset(event_new(base_.get(), near_.get(), EV_READ | EV_PERSIST, on_packets, this));
    ASSERT_EQ(event_add(packets_.get(), nullptr), 0);
  }

  void visit() {
    most_ = std::max(most_, pieces_made_ - seen_ + port_ids_.size() - seen_requests_);
    seen_ = pieces_made_;
    seen_requests_ = port_ids_.size();
  }

  /// Has `count` clients read answers of so many pieces to the end; returns how often the loop
  /// went round.
  std::size_t read_all(std::size_t count, std::uint32_t pieces) {
    std::vector<FileDescriptor> clients;
    for (std::size_t i = 0; i < count; ++i) {
      clients.push_back(connect());
      request(clients.back(), pieces);
    }
    std::size_t rounds = 0;
    for (std::size_t taken = 0; taken < count * pieces && rounds < 100 * count * pieces; ++rounds) {
      event_base_loop(base_.get(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
      for (const auto& client : clients) {
        while (read_piece(client)) ++taken;
      }
    }
    visit();
    EXPECT_EQ(pieces_made_, count * pieces);
    return rounds;
  }

  FileDescriptor near_, far_;
  EventPtr packets_;
  std::size_t seen_ = 0;
  std::size_t seen_requests_ = 0;
  std::size_t most_ = 0;  ///< pieces and requests between two visits
};

TEST_F(SharesOfTheLoop, AreBoundedByPiecesHoweverManyClientsThereAre) {
  options_.pieces_at_once = 4;
  options_.time_at_once = std::chrono::hours(1);
  begin();
  read_all(40, 25);
  // A piece may be a request with the first datagram of its answer.
  EXPECT_LE(most_, 2 * options_.pieces_at_once);
  EXPECT_GE(most_, options_.pieces_at_once);
}

TEST_F(SharesOfTheLoop, EndWithThePieceInWhichTheTimeRunsOut) {
  options_.time_at_once = std::chrono::seconds(0);
  begin();
  read_all(10, 20);
  EXPECT_LE(most_, 2U);
}

TEST_F(SharesOfTheLoop, AreToldOf) {
  AwayTime away;
  options_.away = &away;
  begin();
  read_all(1, 10);
  away.visit();
  EXPECT_GT(away.longest(), AwayTime::Duration{});
  server_.reset();  // it must not outlive `away`
}

class UnprivilegedClient : public ControlServerTest {
 protected:
  /// Connects as the user nobody (credentials are noted at connect()).
  [[nodiscard]] FileDescriptor connect_as_nobody() const {
    constexpr uid_t kNobody = 65534;
    EXPECT_EQ(::seteuid(kNobody), 0);
    auto socket = connect();
    settle();  // also what the server asks /proc about this process must be of nobody
    EXPECT_EQ(::seteuid(0), 0);
    return socket;
  }
};

TEST_F(UnprivilegedClient, GetsEpermAsFromTheKernel) {
  const auto client = connect_as_nobody();
  request(client, 7, 99);
  settle();
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  ASSERT_EQ(::recv(client.get(), &answer, sizeof(answer), 0), static_cast<ssize_t>(sizeof(answer)));
  EXPECT_EQ(answer.header.nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(answer.header.nlmsg_seq, 7U);
  EXPECT_EQ(answer.header.nlmsg_pid, 99U);
  EXPECT_EQ(answer.error.error, -EPERM);
  EXPECT_TRUE(port_ids_.empty()) << "the request must not reach the director";
  EXPECT_TRUE(is_closed(client));
  EXPECT_EQ(server_->client_count(), 0U);
}

TEST_F(UnprivilegedClient, CannotTakeAllThePlaces) {
  server_.reset();
  options_.max_unprivileged_clients = 1;
  start();
  const auto first = connect_as_nobody();
  const auto second = connect_as_nobody();
  settle();
  EXPECT_TRUE(is_closed(second));
  const auto root = connect();
  request(root, 1);
  settle();
  EXPECT_EQ(read_piece(root), 0U);
}

TEST_F(UnprivilegedClient, OfTheConfiguredGroupIsServed) {
  server_.reset();
  constexpr gid_t kGroup = 65534;
  options_.group = kGroup;
  start();
  EXPECT_EQ(::setegid(kGroup), 0);
  const auto client = connect_as_nobody();
  EXPECT_EQ(::setegid(0), 0);
  request(client, 1);
  settle();
  EXPECT_EQ(read_piece(client), 0U);
}

}  // namespace
}  // namespace lb::daemon
