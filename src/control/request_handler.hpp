// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/director.hpp"
#include "net/time.hpp"
#include "wire/transport.hpp"

namespace lb::control {

/// What the daemon knows of itself beyond its director, for the STATUS command of the SLUICE
/// family.
class StatusSource;

/// An answer in the making. Short answers are complete at once; a dump is produced piece by
/// piece, so that packets never wait for a long listing.
class Answer {
 public:
  virtual ~Answer() = default;
  /// Fills `datagram` with the next datagram (one or more whole netlink messages, at most
  /// about 16 KiB) and returns true, or returns false when the answer is complete.
  [[nodiscard]] virtual bool next(std::vector<std::byte>& datagram) = 0;
};

/// Applies the requests of the control protocol (IPVS and SLUICE generic-netlink families, and
/// the controller's family look-up) to a director. Total on any bytes.
class RequestHandler {
 public:
  /// `status` may be null (a replay has no daemon).
  RequestHandler(engine::Director& director, StatusSource* status);
  ~RequestHandler();

  /// Handles one datagram of a client, which may hold several messages. `port_id` is the
  /// client's netlink port id, echoed in answers. The caller has checked the client's privileges
  /// and has advanced the director to the present.
  [[nodiscard]] std::unique_ptr<Answer> handle(std::span<const std::byte> datagram,
                                               std::uint32_t port_id);

 private:
  engine::Director& director_;
  StatusSource* status_;
};

}  // namespace lb::control
