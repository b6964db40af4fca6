// SPDX-License-Identifier: Apache-2.0
// Connections that XDP forwards, told to other directors and by them. What XDP does to the flow
// table is done here by hand: it moves the age of a flow on.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/sync/sync_message.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::ForwardingMethod;
using model::SyncRole;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint16_t kEstablished = 1;
constexpr std::uint16_t kFinWait = 4;

/// Keeps what is told.
class Told : public SyncTransport {
 public:
  Result<void> open(const SyncSockets& sockets) noexcept override {
    (void)sockets;
    return {};
  }
  void close(SyncRole role) noexcept override { (void)role; }
  void send(unsigned port, std::span<const std::byte> message) noexcept override {
    (void)port;
    SyncMessageReader reader(message);
    SyncEntry entry;
    while (reader.next(entry) == SyncMessageReader::Step::kEntry) entries.push_back(entry);
  }
  /// How often connections, or templates, were told of since the last call.
  unsigned take(bool templates = false) {
    const auto count = std::count_if(entries.begin(), entries.end(), [&](const SyncEntry& entry) {
      return ((entry.flags & kSyncTemplate) != 0) == templates;
    });
    entries.clear();
    return static_cast<unsigned>(count);
  }

  std::vector<SyncEntry> entries;
};

class DirectorSyncPublished : public testing::Test {
 protected:
  DirectorSyncPublished() : flows_(48), ends_(FLOW_END_BUCKETS), endpoints_(FLOW_ENDS) {
    memory_.settings = &settings_;
    memory_.flows4 = flows_;
    memory_.ends4 = ends_;
    memory_.endpoints = endpoints_;
    memory_.targets = targets_;
    memory_.hops = hops_;
    settings_.buckets4 = static_cast<__u32>(flows_.size());
    lab_.director.start_fast_path(memory_);
    lab_.director.set_sync_transport(&told_);
    lab_.pass({});
  }
  void start(SyncRole role) {
    ASSERT_TRUE(lab_.director.start_sync_daemon(
        {.role = role, .interface = "inside", .sync_id = 7, .group = {}}));
  }
  void serve(const model::ServiceSpec& service) {
    ASSERT_TRUE(lab_.director.add_service(service));
    ASSERT_TRUE(lab_.director.add_destination(service.key,
                                              to(server(1, 80), ForwardingMethod::kDirectRoute)));
  }
  void open(unsigned port = 40000) {
    for (const auto flags : {kSyn, kAck}) lab_.process(tcp(client(port), vip(), flags));
    ASSERT_NE(lab_.director.fast_path_status().flows, 0U);
  }
  void pass_seconds(unsigned count, bool is_in_use) {
    for (unsigned i = 0; i < count; ++i) {
      if (is_in_use) forward();
      lab_.pass(seconds(1));
    }
  }
  // What XDP does with a packet of each flow.
  void forward() {
    const auto age = flow_age_at(static_cast<std::uint64_t>(lab_.now.since_start.count()));
    for (auto& bucket : flows_) {
      for (auto& slot : bucket.slots) {
        if (slot.key == 0) continue;
        slot.words = (slot.words << 16 >> 16) | std::uint64_t{age} << 48;
      }
    }
  }
  void tell(const net::Endpoint& real, std::uint16_t state, std::uint32_t flags,
            std::uint32_t timeout_s = 900) {
    const SyncEntry entry{
        .protocol = net::Protocol::kTcp,
        .flags = flags | static_cast<std::uint32_t>(ForwardingMethod::kDirectRoute),
        .state = state,
        .client = client(),
        .virtual_end = vip(),
        .real_end = real,
        .timeout_s = timeout_s,
        .answers_shift = {},
        .key_data = {},
        .engine_name = {}};
    const auto size = sync_entry_size(entry, 1);
    std::vector<std::byte> message(kSyncHeaderV1 + size);
    write_sync_entry(entry, 1, std::span(message).subspan(kSyncHeaderV1));
    message[1] = std::byte{7};
    message[3] = static_cast<std::byte>(message.size());
    message[4] = message[5] = std::byte{1};
    lab_.director.receive_sync(message);
    ASSERT_EQ(lab_.director.sync_counters().messages_rejected, 0U);
  }
  [[nodiscard]] std::uint32_t flows() const { return lab_.director.fast_path_status().flows; }

  std::vector<flow_bucket4> flows_;
  std::vector<flow_end_bucket4> ends_;
  std::vector<flow_endpoint> endpoints_;
  std::vector<flow_target> targets_ = std::vector<flow_target>(16);
  std::vector<flow_hop> hops_ = std::vector<flow_hop>(FLOW_HOPS);
  flow_settings settings_{};
  FlowMemory memory_;
  Told told_;
  Lab lab_;
};

TEST_F(DirectorSyncPublished, WhatXdpForwardsIsToldAgainAndAgain) {
  serve(service_at(vip()));
  start(SyncRole::kMaster);
  open();
  // By the engine's packets alone it would never be told: the threshold is three.
  pass_seconds(4, true);
  EXPECT_EQ(told_.take(), 1U);
  // A kernel that backs up keeps it for 900 s; for an hour, no gap is longer than half a minute
  // and what a message waits.
  for (int i = 0; i < 100; ++i) {
    pass_seconds(36, true);
    ASSERT_GE(told_.take(), 1U) << i;
  }
  EXPECT_EQ(flows(), 1U);
}

TEST_F(DirectorSyncPublished, WhatIsIdleIsNotTold) {
  serve(service_at(vip()));
  start(SyncRole::kMaster);
  open();
  pass_seconds(4, true);
  EXPECT_EQ(told_.take(), 1U);
  // It was in use after it was told last, so once more, and then never.
  pass_seconds(60, false);
  EXPECT_LE(told_.take(), 1U);
  pass_seconds(600, false);
  EXPECT_EQ(told_.take(), 0U);
  EXPECT_EQ(flows(), 1U);
}

TEST_F(DirectorSyncPublished, WithAShortTimeoutItIsToldMoreOften) {
  ASSERT_TRUE(lab_.director.set_timeouts({.tcp = 10, .tcp_fin = 0, .udp = 0}));
  serve(service_at(vip()));
  start(SyncRole::kMaster);
  open();
  pass_seconds(4, true);
  (void)told_.take();
  for (int i = 0; i < 20; ++i) {
    pass_seconds(9, true);
    ASSERT_GE(told_.take(), 1U) << i;
  }
}

TEST_F(DirectorSyncPublished, TemplatesOfWhatXdpForwardsAreTold) {
  auto settings = lab_.director.settings();
  settings.sync_persist_mode = 1;  // only templates are told
  lab_.director.set_settings(settings);
  auto service = service_at(vip());
  service.flags |= model::kServicePersistent;
  service.timeout = 300;
  serve(service);
  start(SyncRole::kMaster);
  open();
  pass_seconds(4, true);
  EXPECT_GE(told_.take(true), 1U);
  for (int i = 0; i < 10; ++i) {
    pass_seconds(36, true);
    const auto all = told_.entries.size();
    const auto templates = told_.take(true);
    ASSERT_GE(templates, 1U) << i;
    ASSERT_EQ(all, templates);
  }
}

TEST_F(DirectorSyncPublished, ALookIsBoundedAndMissesNothing) {
  serve(service_at(vip()));
  start(SyncRole::kMaster);
  for (unsigned port = 40000; port < 40060; ++port) open(port);
  pass_seconds(6, true);
  EXPECT_EQ(told_.take(), 60U);
}

TEST_F(DirectorSyncPublished, WithoutAMasterNothingIsTold) {
  serve(service_at(vip()));
  open();
  pass_seconds(60, true);
  EXPECT_TRUE(told_.entries.empty());
}

TEST_F(DirectorSyncPublished, AnotherStateFromOthersEndsTheShortWay) {
  serve(service_at(vip()));
  start(SyncRole::kBackup);
  open();
  tell(server(1, 80), kEstablished, 0);
  EXPECT_EQ(flows(), 1U) << "nothing has changed";
  tell(server(1, 80), kFinWait, kSyncInactive);
  EXPECT_EQ(flows(), 0U);
  EXPECT_EQ(lab_.director.connection_count(), 1U);
}

TEST_F(DirectorSyncPublished, ATimeoutThatAgesCannotTellEndsTheShortWay) {
  serve(service_at(vip()));
  start(SyncRole::kBackup);
  open();
  tell(server(1, 80), kEstablished, 0, 6 * 3600);
  EXPECT_EQ(flows(), 0U);
}

TEST_F(DirectorSyncPublished, AConnectionThatOthersReplacedIsForwardedByXdpNoMore) {
  serve(service_at(vip()));
  start(SyncRole::kBackup);
  open();
  tell(server(2, 80), kEstablished, 0);
  EXPECT_EQ(flows(), 0U);
  EXPECT_EQ(lab_.director.connection_count(), 1U);
}

}  // namespace
}  // namespace lb::engine
