// SPDX-License-Identifier: Apache-2.0
// Two directors that tell each other of their connections: what the recorded cases do not have.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "engine/allocation_counter.hpp"
#include "engine/sync/sync_message.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using Kind = Verdict::Kind;
using model::ForwardingMethod;
using model::SyncRole;
using net::Protocol;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// Hands messages to another director, and counts.
class Wire : public SyncTransport {
 public:
  Result<void> open(const SyncSockets& sockets) noexcept override {
    if (error != 0) return failure(error);
    opened = sockets;
    return {};
  }
  void close(SyncRole role) noexcept override { closed = role; }
  void send(unsigned port, std::span<const std::byte> message) noexcept override {
    ++messages;
    ports |= 1U << port;
    SyncMessageReader reader(message);
    SyncEntry entry;
    while (reader.next(entry) == SyncMessageReader::Step::kEntry) ++entries;
    if (to != nullptr) to->receive_sync(message);
  }

  Director* to = nullptr;
  int error = 0;
  SyncSockets opened;
  SyncRole closed{};
  unsigned messages = 0;
  unsigned entries = 0;
  unsigned ports = 0;  // a bit for each that was used
};

model::SyncDaemonSpec daemon(SyncRole role, std::uint32_t sync_id = 7) {
  return {.role = role, .interface = "inside", .sync_id = sync_id, .group = {}};
}

class DirectorSync : public testing::Test {
 protected:
  DirectorSync() {
    wire_.to = &backup_.director;
    master_.director.set_sync_transport(&wire_);
    backup_.director.set_sync_transport(&unused_);
    // Tell of every packet.
    set(master_, [](Settings& settings) { settings.sync_threshold = 0, settings.sync_period = 1; });
    for (auto* lab : {&master_, &backup_}) lab->pass({});
  }
  template <class Change>
  static void set(Lab& lab, Change change) {
    auto settings = lab.director.settings();
    change(settings);
    lab.director.set_settings(settings);
  }
  void start() {
    ASSERT_TRUE(master_.director.start_sync_daemon(daemon(SyncRole::kMaster)));
    ASSERT_TRUE(backup_.director.start_sync_daemon(daemon(SyncRole::kBackup)));
  }
  static void serve(Lab& lab, const model::ServiceSpec& service,
                    ForwardingMethod method = ForwardingMethod::kMasquerade) {
    ASSERT_TRUE(lab.director.add_service(service));
    for (const unsigned n : {1U, 2U}) {
      ASSERT_TRUE(lab.director.add_destination(service.key,
                                               to(server(n, service.key.port.to_host()), method)));
    }
  }
  void pass(Duration duration) {
    master_.pass(duration);
    backup_.pass(duration);
  }
  Verdict from_client(Lab& lab, unsigned port, std::uint8_t flags) {
    return lab.process(tcp(client(port), vip(), flags));
  }
  // The client opens a connection; the server's answer is as the method has it.
  net::IpAddress open(unsigned port) {
    from_client(master_, port, kSyn);
    const auto chosen = net::parse_frame(master_.sent.at(0))->destination;
    if (chosen != vip().address) {
      master_.process(tcp({chosen, vip().port}, client(port), kSyn | kAck), kInside);
    }
    from_client(master_, port, kAck);
    return chosen;
  }
  model::DestinationInfo info(Lab& lab, std::size_t index) {
    return lab.director.destinations(key_of(vip())).at(index);
  }

  Wire wire_;
  Wire unused_;
  Lab master_;
  Lab backup_;
};

TEST_F(DirectorSync, ADaemonIsStartedAndStopped) {
  auto& director = master_.director;
  const auto master = daemon(SyncRole::kMaster);
  const auto code = [](const Result<void>& result) { return result ? 0 : result.error().code; };
  director.set_sync_transport(nullptr);
  EXPECT_EQ(code(director.start_sync_daemon(master)), EOPNOTSUPP);
  director.set_sync_transport(&wire_);
  wire_.error = EADDRINUSE;
  EXPECT_EQ(code(director.start_sync_daemon(master)), EADDRINUSE);
  wire_.error = 0;
  EXPECT_EQ(code(director.stop_sync_daemon(SyncRole::kMaster)), ESRCH);
  EXPECT_EQ(code(director.start_sync_daemon(master)), 0);
  EXPECT_EQ(code(director.start_sync_daemon(master)), EEXIST);
  auto wrong = daemon(SyncRole::kBackup);
  wrong.interface = "nosuch";
  EXPECT_EQ(code(director.start_sync_daemon(wrong)), ENODEV);
  wrong = daemon(static_cast<SyncRole>(3));
  EXPECT_EQ(code(director.start_sync_daemon(wrong)), EINVAL);
  EXPECT_EQ(code(director.stop_sync_daemon(static_cast<SyncRole>(0))), EINVAL);
  wrong = daemon(SyncRole::kBackup);
  wrong.group = ip("192.0.2.1");
  EXPECT_EQ(code(director.start_sync_daemon(wrong)), EINVAL);
  ASSERT_EQ(director.sync_daemons().size(), 1U);
  EXPECT_EQ(director.sync_daemons()[0].max_length, 1472);
  EXPECT_EQ(director.sync_daemons()[0].port, 8848);
  EXPECT_EQ(director.sync_daemons()[0].group, ip("224.0.0.81"));
  EXPECT_EQ(code(director.stop_sync_daemon(SyncRole::kMaster)), 0);
  EXPECT_EQ(wire_.closed, SyncRole::kMaster);
  EXPECT_TRUE(director.sync_daemons().empty());
}

TEST_F(DirectorSync, MixedFamiliesAndDaemonsExcludeEachOther) {
  auto mixed = to(server6(1), ForwardingMethod::kTunnel);
  ASSERT_TRUE(master_.director.add_service(service_at(vip())));
  ASSERT_TRUE(master_.director.add_destination(key_of(vip()), mixed));
  EXPECT_EQ(master_.director.start_sync_daemon(daemon(SyncRole::kMaster)).error().code, EINVAL);
  ASSERT_TRUE(master_.director.delete_destination(key_of(vip()), {mixed.address, mixed.port}));
  ASSERT_TRUE(master_.director.start_sync_daemon(daemon(SyncRole::kMaster)));
  EXPECT_EQ(master_.director.add_destination(key_of(vip()), mixed).error().code, EINVAL);
}

TEST_F(DirectorSync, AConnectionGoesOnAtTheBackup) {
  for (auto* lab : {&master_, &backup_}) serve(*lab, service_at(vip()));
  start();
  const auto chosen = open(40000);
  pass(seconds(3));
  ASSERT_EQ(backup_.connections().size(), 1U);
  EXPECT_EQ(from_client(backup_, 40000, kAck).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(backup_.sent.at(0))->destination, chosen);
  EXPECT_EQ(info(backup_, 0).active_connections + info(backup_, 1).active_connections, 1U);

  from_client(master_, 40000, kFin | kAck);
  pass(seconds(3));
  EXPECT_EQ(backup_.connections().at(0).state.view(), master_.connections().at(0).state.view());
  EXPECT_EQ(info(backup_, 0).active_connections + info(backup_, 1).active_connections, 0U);
  EXPECT_EQ(info(backup_, 0).inactive_connections + info(backup_, 1).inactive_connections, 1U);
  pass(minutes(20));
  EXPECT_EQ(backup_.director.connection_count(), 0U);
  EXPECT_EQ(info(backup_, 0).inactive_connections + info(backup_, 1).inactive_connections, 0U);
}

TEST_F(DirectorSync, ADestinationThatComesLaterIsBoundThen) {
  serve(master_, service_at(vip()), ForwardingMethod::kDirectRoute);
  ASSERT_TRUE(backup_.director.add_service(service_at(vip())));
  start();
  open(40000);
  pass(seconds(3));
  ASSERT_EQ(backup_.connections().size(), 1U);
  // Forwarded as the message says while nothing better is known.
  EXPECT_EQ(from_client(backup_, 40000, kAck).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(backup_.sent.at(0))->destination, vip().address);
  // It takes on the forwarding method of the destination.
  for (const unsigned n : {1U, 2U}) {
    ASSERT_TRUE(backup_.director.add_destination(key_of(vip()), to(server(n, 80))));
  }
  EXPECT_EQ(from_client(backup_, 40000, kAck).kind, Kind::kSend);
  const auto chosen = net::parse_frame(backup_.sent.at(0))->destination;
  EXPECT_NE(chosen, vip().address);
  EXPECT_EQ(info(backup_, 0).active_connections + info(backup_, 1).active_connections, 1U);
  EXPECT_EQ(backup_.process(tcp({chosen, port_of(80)}, client(), kAck), kInside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(backup_.sent.at(0))->source, vip().address);
}

TEST_F(DirectorSync, EveryMethodIsForwardedWithoutADestination) {
  for (const auto method :
       {ForwardingMethod::kMasquerade, ForwardingMethod::kTunnel, ForwardingMethod::kDirectRoute}) {
    Lab master;
    Lab backup;
    Wire wire;
    wire.to = &backup.director;
    master.director.set_sync_transport(&wire);
    backup.director.set_sync_transport(&unused_);
    set(master, [](Settings& settings) { settings.sync_threshold = 0, settings.sync_period = 1; });
    serve(master, service_at(vip(), Protocol::kUdp), method);
    // IPVS is off without any service.
    ASSERT_TRUE(backup.director.add_service(service_at(vip(81), Protocol::kUdp)));
    ASSERT_TRUE(master.director.start_sync_daemon(daemon(SyncRole::kMaster)));
    ASSERT_TRUE(backup.director.start_sync_daemon(daemon(SyncRole::kBackup)));
    master.process(udp(client(), vip()));
    const auto there = master.sent.at(0);
    master.pass(seconds(3));
    EXPECT_EQ(backup.process(udp(client(), vip())).kind, Kind::kSend);
    EXPECT_EQ(net::parse_frame(backup.sent.at(0))->destination,
              net::parse_frame(there)->destination);
    EXPECT_EQ(backup.sent.at(0).size(), there.size());
  }
}

TEST_F(DirectorSync, TheEndOfAReplacedConnectionIsIgnored) {
  for (auto* lab : {&master_, &backup_}) serve(*lab, service_at(vip()));
  // Only the end is told of.
  set(master_, [](Settings& settings) { settings.sync_threshold = 30, settings.sync_period = 50; });
  start();
  open(40000);
  from_client(master_, 40000, kFin | kAck);
  // The backup meanwhile has its own, to the other server.
  from_client(backup_, 1, kSyn);
  from_client(backup_, 40000, kSyn);
  const auto before = backup_.connections();
  pass(seconds(3));
  EXPECT_EQ(wire_.entries, 1U);
  EXPECT_EQ(backup_.director.sync_counters().entries_stale, 1U);
  EXPECT_EQ(backup_.connections().size(), before.size());
}

TEST_F(DirectorSync, APassiveBackupLeavesClientsToTheHost) {
  serve(backup_, service_at(vip()));
  EXPECT_EQ(from_client(backup_, 1, kSyn).kind, Kind::kSend);
  set(backup_, [](Settings& settings) { settings.backup_only = 1; });
  EXPECT_EQ(from_client(backup_, 2, kSyn).kind, Kind::kSend);
  ASSERT_TRUE(backup_.director.start_sync_daemon(daemon(SyncRole::kBackup)));
  EXPECT_EQ(from_client(backup_, 2, kAck).kind, Kind::kHost);
  EXPECT_EQ(from_client(backup_, 3, kSyn).kind, Kind::kHost);
  const auto chosen = backup_.connections().at(0).destination;
  EXPECT_EQ(backup_.process(tcp(chosen, client(1), kSyn | kAck), kInside).kind, Kind::kSend);
}

TEST_F(DirectorSync, TemplatesAreSharedAndControlledOnesKeptBack) {
  auto service = service_at(vip());
  service.flags = model::kServicePersistent;
  service.timeout = 60;
  for (auto* lab : {&master_, &backup_}) serve(*lab, service);
  set(master_, [](Settings& settings) { settings.sync_persist_mode = 1; });
  start();
  const auto chosen = open(40000);
  pass(seconds(3));
  ASSERT_EQ(backup_.connections().size(), 1U);
  EXPECT_EQ(backup_.connections().at(0).state.view(), "ASSURED");
  for (const unsigned port : {1U, 2U, 3U}) {
    from_client(backup_, port, kSyn);
    EXPECT_EQ(net::parse_frame(backup_.sent.at(0))->destination, chosen);
  }
}

TEST_F(DirectorSync, AFtpConversationThatWasShiftedGoesOn) {
  auto service = service_at(vip(21));
  for (auto* lab : {&master_, &backup_}) {
    ASSERT_TRUE(lab->director.add_service(service));
    ASSERT_TRUE(lab->director.add_destination(service.key, to(server(1, 21))));
  }
  start();
  const auto say = [](const net::Endpoint& from, const net::Endpoint& to, std::string_view text,
                      std::uint32_t sequence) {
    auto packet = between(Protocol::kTcp, from, to);
    for (const char c : text) packet.payload.push_back(static_cast<std::byte>(c));
    auto segment = segment_of(packet);
    net::store(std::span(segment), 4, net::Be32::from_host(sequence));
    segment[13] = std::byte{sequence == 0 ? kSyn : kAck};
    seal(packet, segment, 16);
    return build(packet, segment);
  };
  const auto sequence_out = [](const Lab& lab) {
    const auto headers = net::parse_frame(lab.sent.at(0)).value();
    return net::load<net::Be32>(lab.sent.at(0), headers.transport_offset + std::size_t{4})
        .to_host();
  };
  master_.process(say(client(), vip(21), "", 0));
  master_.process(say(server(1, 21), client(), "", 0), kInside);
  master_.process(say(client(), vip(21), "PASV\r\n", 1));
  const std::string answer = "227 Entering Passive Mode (10,0,0,2,40,1)\r\n";
  master_.process(say(server(1, 21), client(), answer, 5001), kInside);
  const auto next = static_cast<std::uint32_t>(5001 + answer.size());
  master_.process(say(server(1, 21), client(), "", next), kInside);
  const auto shifted = sequence_out(master_);
  EXPECT_NE(shifted, next);
  master_.process(say(client(), vip(21), "", 7));
  pass(seconds(3));
  backup_.process(say(server(1, 21), client(), "", next), kInside);
  EXPECT_EQ(sequence_out(backup_), shifted);
}

TEST_F(DirectorSync, WithARefreshPeriodTimeDecides) {
  serve(master_, service_at(vip(), Protocol::kUdp));
  set(master_, [](Settings& settings) {
    settings.sync_period = 0;
    settings.sync_refresh_period = 16;
    settings.sync_retries = 2;
  });
  start();
  const auto entries_after = [&](Duration wait) {
    pass(wait);
    master_.process(udp(client(), vip()));
    const auto before = wire_.entries;
    pass(seconds(2));
    return wire_.entries - before;
  };
  EXPECT_EQ(entries_after({}), 1U);           // new
  EXPECT_EQ(entries_after({}), 1U);           // repeated once an eighth of the period is over
  EXPECT_EQ(entries_after({}), 1U);           // and again
  EXPECT_EQ(entries_after({}), 0U);           // that was enough
  EXPECT_EQ(entries_after(seconds(16)), 1U);  // it will live longer than was told
}

TEST_F(DirectorSync, AConnectionThatOutlivesItsTimeIsToldOf) {
  auto service = service_at(vip());
  service.flags = model::kServicePersistent;
  service.timeout = 30;
  serve(master_, service);
  set(master_, [](Settings& settings) { settings.sync_persist_mode = 1; });
  start();
  open(40000);
  pass(seconds(3));
  const auto before = wire_.entries;
  pass(seconds(31));
  pass(seconds(3));
  EXPECT_EQ(wire_.entries, before + 1);
}

TEST_F(DirectorSync, SeveralPorts) {
  serve(master_, service_at(vip(), Protocol::kUdp));
  set(master_, [](Settings& settings) { settings.sync_ports = 4; });
  start();
  EXPECT_EQ(wire_.opened.ports, 4U);
  for (unsigned port = 1001; port <= 1020; ++port) master_.process(udp(client(port), vip()));
  pass(seconds(3));
  EXPECT_EQ(wire_.ports, 0xfU);
  EXPECT_EQ(wire_.entries, 20U);
}

TEST_F(DirectorSync, TellingDoesNotAllocate) {
  serve(master_, service_at(vip(), Protocol::kUdp));
  start();
  wire_.to = nullptr;
  const auto frame = udp(client(), vip());
  master_.process(frame);
  net::Packet packet = master_.buffer.receive(frame);
  const lb::test::AllocationCounter counter;
  for (int i = 0; i < 1000; ++i) {
    packet = master_.buffer.receive(frame);
    master_.director.process(packet, kOutside, master_.now, master_.outputs);
  }
  EXPECT_EQ(counter.count(), 0U);
  EXPECT_GT(wire_.entries, 900U);
}

TEST_F(DirectorSync, AWholeTableIsTold) {
  serve(master_, service_at(vip()));
  serve(backup_, service_at(vip()));
  std::array<std::byte, kLeastSyncTableRoom> room{};
  EXPECT_EQ(master_.director.write_sync_table(0, room).size, 0U) << "there is no master daemon";
  start();
  // Too few packets to be told of.
  set(master_, [](Settings& settings) { settings.sync_threshold = 49, settings.sync_period = 50; });
  for (unsigned port = 0; port < 40; ++port) open(50000 + port);
  from_client(master_, 51000, kSyn);  // of no use to others
  EXPECT_EQ(backup_.director.connection_count(), 0U);
  unsigned parts = 0;
  for (std::uint32_t cursor = 0; parts == 0 || cursor != 0; ++parts) {
    const auto part = master_.director.write_sync_table(cursor, room);
    ASSERT_TRUE(part.next == 0 || part.next > cursor);
    ASSERT_LE(part.size, room.size());
    backup_.director.receive_sync(std::span(room).first(part.size));
    cursor = part.next;
  }
  EXPECT_GE(parts, 3U);
  EXPECT_EQ(backup_.director.connection_count(), 40U);
  EXPECT_EQ(backup_.director.sync_counters().messages_rejected, 0U);
  EXPECT_EQ(info(backup_, 0).active_connections, 20U);
  EXPECT_EQ(master_.director.write_sync_table(1U << 31, room).next, 0U);
  EXPECT_EQ(master_.director.write_sync_table(0, std::span(room).first(511)).size, 0U);
}

// Two directors that both are master and backup: what the one forwards is not put back to what the
// other was told once.
TEST_F(DirectorSync, ATableChangesNothingThatIsInUse) {
  serve(master_, service_at(vip()));
  serve(backup_, service_at(vip()));
  start();
  ASSERT_TRUE(backup_.director.start_sync_daemon(daemon(SyncRole::kMaster)));
  ASSERT_TRUE(master_.director.start_sync_daemon(daemon(SyncRole::kBackup)));
  const auto chosen = open(50000);
  pass(seconds(3));
  ASSERT_EQ(backup_.director.connection_count(), 1U);
  std::array<std::byte, kLeastSyncTableRoom> room{};
  const auto table_of = [&](Lab& lab) {
    return std::span<const std::byte>(room).first(lab.director.write_sync_table(0, room).size);
  };
  wire_.to = nullptr;  // what happens now, the backup does not hear
  from_client(master_, 50000, kFin | kAck);
  const auto state_in = [&](Lab& lab) { return std::string(lab.connections().at(0).state.view()); };
  const auto closing = state_in(master_);
  ASSERT_NE(closing, state_in(backup_));
  master_.director.receive_sync(table_of(backup_), SyncOrigin::kTable);
  EXPECT_EQ(state_in(master_), closing);
  EXPECT_EQ(master_.director.sync_counters().entries_stale, 1U);
  // The other way round it helps.
  backup_.director.receive_sync(table_of(master_), SyncOrigin::kTable);
  EXPECT_EQ(state_in(backup_), closing);
  // And what is in use at the backup meanwhile is its own.
  from_client(backup_, 50000, kAck);
  const auto stale = backup_.director.sync_counters().entries_stale;
  backup_.director.receive_sync(table_of(master_), SyncOrigin::kTable);
  EXPECT_EQ(backup_.director.sync_counters().entries_stale, stale + 1);
  EXPECT_NE(chosen, vip().address);
}

}  // namespace
}  // namespace lb::engine
