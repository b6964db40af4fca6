// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/director.hpp"
#include "wire/transport.hpp"

namespace lb::control {

class DaemonControl;
class StatusSource;
struct Session;

/// An answer in the making. Short answers are complete at once; a dump is produced piece by
/// piece, so that packets never wait for a long listing.
class Answer {
 public:
  virtual ~Answer() = default;
  /// Fills `datagram` with the next datagram (one or more whole netlink messages, at most
  /// 16 KiB but for the echo of a long request) and returns true, or returns false when the
  /// answer is complete. An empty datagram means that long work goes on: call again. Some tens of
  /// microseconds of work are done by a call.
  [[nodiscard]] virtual bool next(std::vector<std::byte>& datagram) = 0;
};

/// Applies the requests of the control protocol (IPVS and SLUICE generic-netlink families, and
/// the controller's family look-up) to a director. Total on any bytes.
class RequestHandler {
 public:
  /// `status` and `daemon` may be null (a replay has no daemon).
  RequestHandler(engine::Director& director, const StatusSource* status,
                 DaemonControl* daemon = nullptr)
      : director_(director), status_(status), daemon_(daemon) {}

  /// Handles one datagram of a client, which may hold several messages; what they ask for is
  /// begun when this returns, and done before the answer says anything; dumps are read while it is
  /// taken. As with a netlink socket, a second dump in one datagram is refused (EBUSY). `port_id`
  /// is the client's netlink port id, echoed in answers. The caller has checked the client's
  /// privileges and has advanced the director to the present. The answer must not outlive the
  /// handler, its director and `session`, which is the client's; without one it can have no
  /// transaction (EOPNOTSUPP). What of the work is left when the answer goes is not done.
  [[nodiscard]] std::unique_ptr<Answer> handle(std::span<const std::byte> datagram,
                                               std::uint32_t port_id,
                                               Session* session = nullptr) const;

 private:
  engine::Director& director_;
  const StatusSource* status_;
  DaemonControl* daemon_;
};

}  // namespace lb::control
