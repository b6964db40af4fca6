// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "control/request_handler.hpp"
#include "control/transaction.hpp"

struct event_base;

namespace lb::daemon {

class AwayTime;

/// The daemon's end of the control protocol: netlink messages over a SOCK_SEQPACKET socket in
/// the abstract name space, which belongs to a network namespace as IPVS does. A second daemon
/// in the same namespace finds the name taken.
///
/// Nothing a client does holds up packets or other clients: a request is answered piece by
/// piece as far as the client reads, and its next request is read after that. All clients
/// together get one share of each turn of the loop, by turns, so that the packet sockets are
/// visited again after it however many clients there are. A client that stops reading, or leaves
/// in the middle of an answer, costs one connection.
class ControlServer {
 public:
  using Handler = std::function<std::unique_ptr<control::Answer>(
      std::span<const std::byte> datagram, std::uint32_t port_id, control::Session& session)>;

  struct Options {
    std::string name;            ///< of the socket, without the leading NUL
    std::optional<gid_t> group;  ///< whose members may use it besides root
    std::size_t max_clients = 256;
    /// Of the above, at most so many without privileges. They get EPERM to all but a family
    /// look-up, as the kernel answers, and are gone after a few seconds.
    std::size_t max_unprivileged_clients = 16;
    /// A share of a turn: it ends after so many pieces of work (at most a request taken, and a
    /// datagram made and written), or earlier with the piece in which its time runs out.
    std::size_t pieces_at_once = 16;
    std::chrono::microseconds time_at_once{100};
    /// Told of each share, if not null; must outlive the server.
    AwayTime* away = nullptr;
  };

  /// Listens. The error is a sentence for an operator. `base` must outlive the server.
  [[nodiscard]] static tl::expected<std::unique_ptr<ControlServer>, std::string> create(
      event_base* base, const Options& options, Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  [[nodiscard]] std::size_t client_count() const;
  /// Admits members of another group from now on; clients that are there stay.
  void set_group(std::optional<gid_t> group);

 private:
  struct State;
  explicit ControlServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lb::daemon
