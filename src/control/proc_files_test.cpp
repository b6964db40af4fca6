// SPDX-License-Identifier: Apache-2.0
#include "control/proc_files.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "control/test_director.hpp"
#include "control/test_packets.hpp"
#include "wire/ipvs_client.hpp"
#include "wire/sluice_messages.hpp"

namespace lb::control {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr wire::RequestContext kContext{.family = wire::kSluiceFamily};

class ProcFilesTest : public testing::Test {
 protected:
  ProcFilesTest() {
    own_.add_interface(1, {"192.0.2.1/24", "192.0.2.10/32", "10.0.0.1/16"});
    service_.key.address = *net::IpAddress::from_text("192.0.2.10");
    service_.key.port = net::Port::from_host(80);
    EXPECT_TRUE(own_.director.add_service(service_));
    EXPECT_TRUE(own_.director.add_destination(service_.key, destination(2)));
    own_.network.set_neighbour(engine::InterfaceId{1}, destination(2).address,
                               {.bytes = {2, 0, 0, 0, 2, 2}});
  }

  static model::DestinationSpec destination(unsigned number) {
    model::DestinationSpec spec;
    spec.address = *net::IpAddress::from_text("10.0." + std::to_string(number / 250) + "." +
                                              std::to_string(number % 250));
    spec.port = net::Port::from_host(80);
    return spec;
  }

  void open_connections(unsigned count) {
    engine::Outputs outputs;
    for (unsigned i = 0; i < count; ++i) {
      auto frame = syn_from(static_cast<std::uint16_t>(40000 + i));
      net::Packet packet(frame, 0, frame.size());
      ASSERT_EQ(own_.director.process(packet, engine::InterfaceId{1}, {}, outputs).kind,
                engine::Verdict::Kind::kSend);
    }
  }

  /// The file as a client reads it.
  Result<std::string> read(std::string_view path) {
    const auto answer = transport_.exchange(wire::read_file_request(kContext, path));
    if (const auto result = wire::outcome(*answer); !result) return tl::unexpected(result.error());
    std::string text;
    for (const auto& message : *answer) text += wire::file_piece(*wire::view_message(message));
    return text;
  }
  Result<void> find(std::string_view path) {
    return wire::outcome(*transport_.exchange(wire::find_file_request(kContext, path)));
  }

  TestDirector own_;
  model::ServiceSpec service_;
  RequestHandler handler_{own_.director, nullptr};
  DirectTransport transport_{handler_};
};

// Heads and columns were taken from Linux 6.1.

TEST_F(ProcFilesTest, Connections) {
  open_connections(1);
  EXPECT_EQ(*read("/proc/net/ip_vs_conn"),
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
            "TCP C6336407 9C40 C000020A 0050 0A000002 0050 SYN_RECV         60\n");
  EXPECT_EQ(*read("/proc/net/ip_vs_conn_sync"),
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
            "TCP C6336407 9C40 C000020A 0050 0A000002 0050 SYN_RECV    LOCAL       60\n");
}

TEST_F(ProcFilesTest, ManyConnectionsOnceEach) {
  constexpr unsigned kConnections = 900;
  open_connections(kConnections);
  const auto text = *read("/proc/net/ip_vs_conn");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + kConnections);
  for (unsigned i = 0; i < kConnections; ++i) {
    EXPECT_THAT(text, HasSubstr(fmt::format("\nTCP C6336407 {:04X} ", 40000 + i)));
  }
}

// A piece is what packets wait for.
TEST_F(ProcFilesTest, PiecesAreSmallWhateverThereIsToList) {
  open_connections(900);
  for (unsigned number = 3; number < 500; ++number) {
    ASSERT_TRUE(own_.director.add_destination(service_.key, destination(number)));
  }
  for (const auto* path :
       {"/proc/net/ip_vs", "/proc/net/ip_vs_conn", "/proc/net/ip_vs_conn_sync"}) {
    const auto file = open_proc_file(own_.director, path);
    std::ptrdiff_t most = 0;
    for (std::string text; file->next(text); text.clear()) {
      most = std::max(most, std::count(text.begin(), text.end(), '\n'));
    }
    EXPECT_LE(most, 64) << path;
  }
}

TEST_F(ProcFilesTest, Totals) {
  EXPECT_EQ(*read("/proc/net/ip_vs_stats_percpu"),
            "       Total Incoming Outgoing         Incoming         Outgoing\n"
            "CPU    Conns  Packets  Packets            Bytes            Bytes\n"
            "  0        0        0        0                0                0\n"
            "  ~        0        0        0                0                0\n"
            "\n"
            "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
            "           0        0        0                0                0\n");
}

TEST_F(ProcFilesTest, ServiceWithMoreServersThanADatagramHolds) {
  constexpr unsigned kServers = 2000;
  for (unsigned number = 3; number < kServers + 2; ++number) {
    ASSERT_TRUE(own_.director.add_destination(service_.key, destination(number)));
  }
  const auto text = *read("/proc/net/ip_vs");
  EXPECT_THAT(text, StartsWith("IP Virtual Server version 1.2.1 (size=4096)\n"));
  EXPECT_EQ(text, *proc_file(own_.director, "/proc/net/ip_vs"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '>'), 1 + kServers);
}

TEST_F(ProcFilesTest, Settings) {
  EXPECT_EQ(*read("/proc/sys/net/ipv4/vs/sync_threshold"), "3\t50\n");
  EXPECT_EQ(*read("/proc/sys/net/ipv4/vs/drop_entry"), "0\n");
}

TEST_F(ProcFilesTest, Existence) {
  for (const auto* path : {"/proc/net/ip_vs", "/proc/net/ip_vs_stats", "/proc/net/ip_vs_conn_sync",
                           "/proc/sys/net/ipv4/vs/conntrack"}) {
    EXPECT_TRUE(find(path)) << path;
  }
  for (const auto* path : {"/proc/net/ip_vs_other", "/proc/net/", "/proc/sys/net/ipv4/vs/",
                           "/proc/sys/net/ipv4/vs/none", "/etc/passwd", "ip_vs"}) {
    EXPECT_EQ(find(path).error().code, ENOENT) << path;
    EXPECT_EQ(read(path).error().code, ENOENT) << path;
  }
  EXPECT_EQ(find("").error().code, EINVAL);
}

}  // namespace
}  // namespace lb::control
