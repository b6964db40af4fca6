// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "control/dump.hpp"
#include "engine/director.hpp"
#include "net/result.hpp"
#include "wire/netlink.hpp"

namespace lb::control {

class DaemonControl;
class StatusSource;

/// One request message and what it is applied to.
struct Request {
  engine::Director& director;
  const StatusSource* status = nullptr;  ///< may be null
  DaemonControl* daemon = nullptr;       ///< may be null
  const wire::MessageView& message;
  std::uint32_t port_id = 0;

  /// True if the request asks for a dump (both bits; NLM_F_ROOT alone is none).
  [[nodiscard]] bool is_dump() const noexcept;
  [[nodiscard]] DumpContext dump_context() const {
    return {.director = director, .request = {.header = message.header}, .port_id = port_id};
  }
};

/// Work of a request that may take long. It is acknowledged when all is done.
class Task {
 public:
  virtual ~Task() = default;
  /// Does some tens of microseconds of it. False: that was all.
  [[nodiscard]] virtual bool go_on() = 0;
};

/// What a request brings: a message before the acknowledgement, a dump in place of it, work that
/// is still to be done, or nothing.
struct Response {
  wire::Message message = {};
  std::unique_ptr<Dump> dump = {};
  std::unique_ptr<Task> task = {};
};

/// Hands a request to its family.
[[nodiscard]] Result<Response> dispatch(const Request& request);
/// Whether a command of the IPVS family changes the configuration (a sync daemon is none of it).
[[nodiscard]] bool is_change(unsigned command) noexcept;

// Each applies a request of its family, with the errors of the kernel.
[[nodiscard]] Result<Response> handle_controller(const Request& request);
[[nodiscard]] Result<Response> handle_ipvs(const Request& request);
[[nodiscard]] Result<Response> handle_sluice(const Request& request);
/// Commands of the SLUICE family about rules of source NAT; EOPNOTSUPP: it is no such command.
[[nodiscard]] Result<Response> handle_snat(const Request& request);

}  // namespace lb::control
