// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/director.hpp"
#include "model/service.hpp"
#include "wire/netlink.hpp"

namespace lb::control {

class StatusSource;

/// What a dump reads, and the request that it answers. Of `request` only the header may be set:
/// the bytes are gone when the dump is read.
struct DumpContext {
  engine::Director& director;  ///< only read; what XDP counted is added to counters on the way
  wire::MessageView request;
  std::uint32_t port_id = 0;
};

/// A listing that is made while it is read, one datagram at a time.
class Dump {
 public:
  /// What a client's buffer is sure to hold (libnl's).
  static constexpr std::size_t kMaxDatagram = 16 * 1024;

  explicit Dump(const DumpContext& context) : context_(context) {}
  virtual ~Dump() = default;
  Dump(const Dump&) = delete;
  Dump& operator=(const Dump&) = delete;

  /// Appends messages until `datagram` is full or some tens of microseconds of work are done; what
  /// it looks at is bounded, whatever there is to list. False: all have been given, and nothing was
  /// appended.
  [[nodiscard]] virtual bool fill(std::vector<std::byte>& datagram) = 0;
  /// Appends the end of the dump.
  void finish(std::vector<std::byte>& datagram) const;

 protected:
  [[nodiscard]] const DumpContext& context() const { return context_; }

 private:
  DumpContext context_;
};

[[nodiscard]] std::unique_ptr<Dump> dump_families(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_services(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_destinations(const DumpContext& context,
                                                      const model::ServiceKey& key);
[[nodiscard]] std::unique_ptr<Dump> dump_daemons(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_connections(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_settings(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_mark_rules(const DumpContext& context);
/// Their statistics are brought up to date for it.
[[nodiscard]] std::unique_ptr<Dump> dump_snat_rules(const DumpContext& context,
                                                    engine::Director& director);
[[nodiscard]] std::unique_ptr<Dump> dump_service_options(const DumpContext& context);
[[nodiscard]] std::unique_ptr<Dump> dump_status(const DumpContext& context,
                                                const StatusSource* status);
/// `path` must be one that has_proc_file() knows.
[[nodiscard]] std::unique_ptr<Dump> dump_file(const DumpContext& context, std::string_view path);
[[nodiscard]] std::unique_ptr<Dump> dump_nothing(const DumpContext& context);

}  // namespace lb::control
