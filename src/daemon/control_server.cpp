// SPDX-License-Identifier: Apache-2.0
#include "daemon/control_server.hpp"

#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <list>
#include <utility>
#include <vector>

#include "daemon/away_time.hpp"
#include "daemon/event.hpp"
#include "daemon/file_descriptor.hpp"
#include "daemon/log.hpp"
#include "daemon/peer.hpp"
#include "daemon/unix_address.hpp"

namespace lb::daemon {
namespace {

constexpr std::size_t kMaxRequest = 64 * 1024;
constexpr int kBacklog = 64;
// Clients taken in a turn: who each is has to be looked up.
constexpr int kAcceptedAtOnce = 4;
constexpr timeval kAtOnce{.tv_sec = 0, .tv_usec = 0};
constexpr timeval kUnprivilegedTime{.tv_sec = 5, .tv_usec = 0};
// Between two warnings of the same.
constexpr std::chrono::minutes kSilence{1};
// Until a descriptor may be free again for accept().
constexpr timeval kAcceptPause{.tv_sec = 0, .tv_usec = 200'000};

/// The header of the message at the front of `datagram`; null: there is none.
std::optional<nlmsghdr> first_header(std::span<const std::byte> datagram) {
  nlmsghdr header{};
  if (datagram.size() < sizeof(header)) return {};
  std::memcpy(&header, datagram.data(), sizeof(header));
  return header;
}

/// True if every message only asks the controller for the number of a family.
bool is_family_lookup(std::span<const std::byte> datagram) {
  while (const auto header = first_header(datagram)) {
    if (header->nlmsg_type != GENL_ID_CTRL || header->nlmsg_len < sizeof(nlmsghdr)) return false;
    const std::size_t aligned = NLMSG_ALIGN(std::size_t{header->nlmsg_len});
    datagram = datagram.subspan(std::min(aligned, datagram.size()));
  }
  return true;
}

/// One NLMSG_ERROR message.
class ErrorAnswer : public control::Answer {
 public:
  ErrorAnswer(const nlmsghdr& request, std::uint32_t port_id, int error)
      : request_(request), port_id_(port_id), error_(error) {}

  bool next(std::vector<std::byte>& datagram) override {
    if (std::exchange(is_sent_, true)) return false;
    const nlmsghdr header{.nlmsg_len = NLMSG_LENGTH(sizeof(nlmsgerr)),
                          .nlmsg_type = NLMSG_ERROR,
                          .nlmsg_flags = 0,
                          .nlmsg_seq = request_.nlmsg_seq,
                          .nlmsg_pid = port_id_};
    const nlmsgerr error{.error = -error_, .msg = request_};
    datagram.assign(header.nlmsg_len, std::byte{});
    std::memcpy(datagram.data(), &header, sizeof(header));
    std::memcpy(datagram.data() + NLMSG_HDRLEN, &error, sizeof(error));
    return true;
  }

 private:
  nlmsghdr request_;
  std::uint32_t port_id_;
  int error_;
  bool is_sent_ = false;
};

}  // namespace

struct ControlServer::State {
  struct Client {
    State& server;
    FileDescriptor socket;
    Peer peer;
    EventPtr readable, writable, deadline;
    control::Session session;
    std::unique_ptr<control::Answer> answer;  ///< being written
    std::vector<std::byte> unsent;            ///< its datagram that did not fit yet
    bool is_leaving = false;                  ///< closed after the answer
    bool is_waiting = false;                  ///< in `waiting`
    std::list<Client>::iterator self;

    /// A piece of work: takes a request if there is none, makes a datagram of its answer, writes
    /// it.
    void go_on();
    void read_request();
    /// Writes a datagram of the answer; then waits for a turn, for room or for the next request.
    void go_on_answering();
    /// Waits for a turn.
    void wait();
    [[nodiscard]] std::unique_ptr<control::Answer> answer_to(std::span<const std::byte> datagram);
  };

  event_base* base;
  Options options;
  Handler handler;
  FileDescriptor socket;
  EventPtr acceptable, resume_accept;
  EventPtr
      turn;  ///< armed while somebody waits; by time, so that the loop looks at sockets between
  std::list<Client> clients;
  std::deque<Client*> waiting;  ///< for a turn, longest first
  std::size_t unprivileged = 0;
  /// When it was told last that no client can be accepted.
  std::optional<std::chrono::steady_clock::time_point> told_failure = {};
  std::vector<std::byte> request = std::vector<std::byte>(kMaxRequest);

  void accept_clients();
  void add(FileDescriptor connected);
  void drop(Client& client) {
    if (!client.peer.is_privileged) --unprivileged;
    if (client.is_waiting) std::erase(waiting, &client);
    clients.erase(client.self);
  }
  void take_turn();
};

void ControlServer::State::accept_clients() {
  const AwayTime::Span span(options.away);
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    FileDescriptor connected(
        ::accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connected) {
      add(std::move(connected));
      continue;
    }
    if (errno == ECONNABORTED || errno == EINTR) continue;
    if (errno != EAGAIN) {
      // Out of descriptors or memory. The socket stays readable: without a pause this would spin.
      if (const auto now = std::chrono::steady_clock::now();
          !told_failure || now - *told_failure > kSilence) {
        told_failure = now;
        log(LogLevel::kWarning,
            fmt::format("cannot accept clients: {}; trying again", std::strerror(errno)));
      }
      event_del(acceptable.get());
      event_add(resume_accept.get(), &kAcceptPause);
    }
    return;
  }
}

void ControlServer::State::add(FileDescriptor connected) {
  const auto peer = identify_peer(connected.get(), options.group);
  if (!peer || clients.size() >= options.max_clients ||
      (!peer->is_privileged && unprivileged >= options.max_unprivileged_clients)) {
    return;  // closes it: the client reads the end of file
  }
  const int fd = connected.get();
  Client& client = clients.emplace_back(Client{.server = *this,
                                               .socket = std::move(connected),
                                               .peer = *peer,
                                               .readable = {},
                                               .writable = {},
                                               .deadline = {},
                                               .session = {},
                                               .answer = {},
                                               .unsent = {},
                                               .self = {}});
  client.self = std::prev(clients.end());
  const auto on_ready = [](evutil_socket_t, short, void* who) {
    static_cast<Client*>(who)->wait();
  };
  const auto on_deadline = [](evutil_socket_t, short, void* who) {
    auto* late = static_cast<Client*>(who);
    late->server.drop(*late);
  };
  client.readable.reset(event_new(base, fd, EV_READ, on_ready, &client));
  client.writable.reset(event_new(base, fd, EV_WRITE, on_ready, &client));
  event_add(client.readable.get(), nullptr);
  if (!peer->is_privileged) {
    ++unprivileged;
    client.deadline.reset(event_new(base, -1, 0, on_deadline, &client));
    event_add(client.deadline.get(), &kUnprivilegedTime);
  }
}

void ControlServer::State::Client::wait() {
  is_waiting = true;
  server.waiting.push_back(this);
  if (server.waiting.size() == 1) event_add(server.turn.get(), &kAtOnce);
}

/// Serves those that wait, a piece each, until the share is used up.
void ControlServer::State::take_turn() {
  const AwayTime::Span span(options.away);
  const auto end = std::chrono::steady_clock::now() + options.time_at_once;
  for (std::size_t pieces = 0; !waiting.empty(); ++pieces) {
    const bool is_over = std::chrono::steady_clock::now() >= end;
    if (pieces == options.pieces_at_once || (pieces != 0 && is_over)) {
      event_add(turn.get(), &kAtOnce);
      return;
    }
    auto& client = *waiting.front();
    waiting.pop_front();
    client.is_waiting = false;
    client.go_on();
  }
}

void ControlServer::State::Client::go_on() {
  if (answer) {
    go_on_answering();
  } else {
    read_request();
  }
}

void ControlServer::State::Client::read_request() {
  auto& buffer = server.request;
  const auto size = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    event_add(readable.get(), nullptr);
    return;
  }
  // The end, or a request that no client of this protocol makes: the message would be cut.
  if (size <= 0 || static_cast<std::size_t>(size) > buffer.size()) {
    server.drop(*this);
    return;
  }
  answer = answer_to({buffer.data(), static_cast<std::size_t>(size)});
  // Its beginning at once: with that the acknowledgement of a request to stop has been written.
  go_on_answering();
}

std::unique_ptr<control::Answer> ControlServer::State::Client::answer_to(
    std::span<const std::byte> datagram) {
  const auto header = first_header(datagram);
  if (!header) return nullptr;  // as the kernel: what is no message has no answer
  const auto port_id =
      header->nlmsg_pid != 0 ? header->nlmsg_pid : static_cast<std::uint32_t>(peer.process);
  if (!peer.is_privileged && !is_family_lookup(datagram)) {
    is_leaving = true;
    return std::make_unique<ErrorAnswer>(*header, port_id, EPERM);
  }
  return server.handler(datagram, port_id, session);
}

void ControlServer::State::Client::go_on_answering() {
  if (unsent.empty() && (!answer || !answer->next(unsent))) {
    answer.reset();
    unsent.clear();
    if (is_leaving) return server.drop(*this);
    event_add(readable.get(), nullptr);
    return;
  }
  if (unsent.empty()) return wait();
  // A client that left is normal (ipvsadm leaves with data unread): no signal, no word.
  if (::send(socket.get(), unsent.data(), unsent.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
    unsent.clear();
    return wait();
  }
  if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) {
    event_add(writable.get(), nullptr);
    return;
  }
  if (errno != EPIPE && errno != ECONNRESET) {
    log(LogLevel::kWarning,
        fmt::format("cannot answer process {}: {}", peer.process, std::strerror(errno)));
  }
  server.drop(*this);
}

ControlServer::ControlServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ControlServer::~ControlServer() = default;

std::size_t ControlServer::client_count() const { return state_->clients.size(); }
void ControlServer::set_group(std::optional<gid_t> group) { state_->options.group = group; }

tl::expected<std::unique_ptr<ControlServer>, std::string> ControlServer::create(
    event_base* base, const Options& options, Handler handler) {
  const AbstractAddress address(options.name);
  FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return tl::unexpected(fmt::format("cannot make the control socket: {}", std::strerror(errno)));
  }
  if (::bind(socket.get(), address.get(), address.length) != 0) {
    if (errno == EADDRINUSE) {
      return tl::unexpected(std::string(
          "another sluiced serves this network namespace already (its control socket exists); "
          "stop it first"));
    }
    return tl::unexpected(fmt::format("cannot bind the control socket '@{}': {}", options.name,
                                      std::strerror(errno)));
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    return tl::unexpected(fmt::format("cannot listen: {}", std::strerror(errno)));
  }
  auto state = std::make_unique<State>(State{.base = base,
                                             .options = options,
                                             .handler = std::move(handler),
                                             .socket = std::move(socket),
                                             .acceptable = {},
                                             .resume_accept = {},
                                             .turn = {},
                                             .clients = {},
                                             .waiting = {}});
  const auto on_acceptable = [](evutil_socket_t, short, void* who) {
    static_cast<State*>(who)->accept_clients();
  };
  const auto on_resume = [](evutil_socket_t, short, void* who) {
    event_add(static_cast<State*>(who)->acceptable.get(), nullptr);
  };
  state->acceptable.reset(
      event_new(base, state->socket.get(), EV_READ | EV_PERSIST, on_acceptable, state.get()));
  state->resume_accept.reset(event_new(base, -1, 0, on_resume, state.get()));
  const auto on_turn = [](evutil_socket_t, short, void* who) {
    static_cast<State*>(who)->take_turn();
  };
  state->turn.reset(event_new(base, -1, 0, on_turn, state.get()));
  if (!state->acceptable || !state->resume_accept || !state->turn ||
      event_add(state->acceptable.get(), nullptr) != 0) {
    return tl::unexpected(std::string("cannot wait for clients: the event loop refuses"));
  }
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(state)));
}

}  // namespace lb::daemon
