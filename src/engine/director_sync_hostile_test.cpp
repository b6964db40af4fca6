// SPDX-License-Identifier: Apache-2.0
// What a stranger may send to the port of the synchronisation daemon.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string_view>
#include <vector>

#include "engine/sync/sync_queue.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using net::Protocol;
using std::chrono::seconds;

class NoSockets : public SyncTransport {
 public:
  Result<void> open(const SyncSockets&) noexcept override { return {}; }
  void close(model::SyncRole) noexcept override {}
  void send(unsigned, std::span<const std::byte>) noexcept override {}
};

model::SyncDaemonSpec backup() {
  return {.role = model::SyncRole::kBackup, .interface = "inside", .group = {}};
}

// Whatever a stranger sends: bounded, counted, and gone when its time is over.
RC_GTEST_PROP(DirectorSyncHostile, AnyEntriesAreTaken, ()) {
  Lab lab;
  NoSockets transport;
  lab.director.set_sync_transport(&transport);
  lab.pass({});
  RC_ASSERT(lab.director.add_service(service_at(vip())).has_value());
  RC_ASSERT(lab.director.add_destination(key_of(vip()), to(server(1))).has_value());
  RC_ASSERT(lab.director.start_sync_daemon(backup()).has_value());
  const auto port = [] { return static_cast<unsigned>(*rc::gen::inRange(0, 3)); };
  const auto methods = rc::gen::inRange(0U, 8U);
  SyncQueue queue(1472, 9);
  const auto count = *rc::gen::inRange(1, 200);
  for (int i = 0; i < count; ++i) {
    const bool is_v6 = *rc::gen::weightedElement<bool>({{4, false}, {1, true}});
    const SyncEntry entry{
        .protocol = *rc::gen::weightedOneOf<net::Protocol>(
            {{5, rc::gen::just(Protocol::kTcp)},
             {2, rc::gen::element(Protocol::kUdp, Protocol::kSctp, Protocol::kEsp, Protocol::kIp)},
             {1, rc::gen::just(static_cast<Protocol>(200))}}),
        .flags = *methods | (*rc::gen::arbitrary<std::uint32_t>() & 0xf9f8U),
        .state = static_cast<std::uint16_t>(*rc::gen::inRange(0, 16)),
        .client = is_v6 ? client6(port()) : client(port()),
        .virtual_end = is_v6 ? vip6(79 + port()) : vip(79 + port()),
        .real_end = is_v6 ? server6(1 + port()) : server(1 + port(), 8079 + port()),
        .fwmark = *rc::gen::element(0U, 0U, 5U),
        .timeout_s = *rc::gen::element(0U, 1U, 60U, 0xffffffffU),
        .answers_shift = {},
        .key_data =
            *rc::gen::element(std::string_view(), std::string_view(), std::string_view("a")),
        .engine_name = "sip"};
    (void)queue.append(entry, *rc::gen::element(1, 1, is_v6 ? 1 : 0), 8, lab.now);
    if (const auto message = queue.take_due(lab.now)) lab.director.receive_sync(*message);
    lab.process(tcp(client(port()), vip(79 + port()), *rc::gen::element(kSyn, kAck, kFin)));
  }
  while (const auto message = queue.take_due(lab.now + seconds(2))) {
    lab.director.receive_sync(*message);
  }
  RC_ASSERT(lab.director.connection_count() <= lab.director.connection_capacity());
  RC_ASSERT(lab.director.sync_counters().messages_rejected == 0U);
  RC_ASSERT(lab.director.delete_service(key_of(vip())).has_value());
  RC_ASSERT(lab.director.add_service(service_at(vip())).has_value());
  RC_ASSERT(lab.director.add_destination(key_of(vip()), to(server(1))).has_value());
  lab.pass(std::chrono::hours(24) * 365 * 200);
  RC_ASSERT(lab.director.connection_count() == 0U);
  const auto left = lab.director.destinations(key_of(vip())).at(0);
  RC_ASSERT(left.active_connections == 0U);
  RC_ASSERT(left.inactive_connections == 0U);
  RC_ASSERT(left.persistent_connections == 0U);
}

RC_GTEST_PROP(DirectorSyncHostile, AnyBytesAreTaken,
              (std::vector<std::vector<std::uint8_t>> messages)) {
  Lab lab;
  NoSockets transport;
  lab.director.set_sync_transport(&transport);
  RC_ASSERT(lab.director.start_sync_daemon(backup()).has_value());
  for (const auto& message : messages) lab.director.receive_sync(std::as_bytes(std::span(message)));
  RC_ASSERT(lab.director.sync_counters().messages_received == messages.size());
}

}  // namespace
}  // namespace lb::engine
