// SPDX-License-Identifier: Apache-2.0
// Which of the host's own packets the tc program on an interface's egress catches for the engine.
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "datapath/egress_hook.hpp"
#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "frame_builder.hpp"
#include "program_run.hpp"

namespace lb::tests {
namespace {

using datapath::EgressHook;
using datapath::SteeringMaps;
using datapath::SteerProgram;
using Side = engine::SteeredEndpoint::Side;

constexpr auto kClient = "198.51.100.7";
constexpr auto kVirtual = "192.0.2.10";
constexpr auto kReal = "10.0.0.1";
constexpr auto kClient6 = "2001:db8:1::7";
constexpr auto kReal6 = "2001:db8:2::1";

class CatchAnswers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: a network namespace of its own";
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << std::strerror(errno);
    auto loaded = SteerProgram::load(1024, 1024);
    ASSERT_TRUE(loaded) << loaded.error();
    program_ = std::move(*loaded);
    maps_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                           [](datapath::LogLevel, std::string_view) {});
    loopback_ = ::if_nametoindex("lo");
    ASSERT_NE(loopback_, 0U);
    add(Side::kReal, kTcp, kReal, 8080);
    add(Side::kReal, kTcp, kReal6, 8080);
    add(Side::kVirtual, kTcp, kVirtual, 80);
  }

  void add(Side side, std::uint8_t protocol, std::string_view address, std::uint16_t port) {
    maps_->endpoint_added({.side = side,
                           .protocol = net::Protocol{protocol},
                           .end = {.address = net::IpAddress::from_text(address).value(),
                                   .port = net::Port::from_host(port)}});
  }
  /// The loopback stands for the interface and for the TAP; nothing is really redirected.
  void serve() {
    const engine::InterfaceId id{loopback_};
    ASSERT_TRUE(
        program_->set_interface(id, {.first_socket = 0, .queues = 1, .host_queue = 3}).has_value());
    ASSERT_TRUE(program_->set_host_device(id).has_value());
  }

  /// True if the program redirects; false if it leaves the frame to whoever comes next.
  bool is_caught(const Bytes& frame, std::uint32_t came_in_by = 0) {
    __sk_buff context{};
    context.ifindex = loopback_;
    context.ingress_ifindex = came_in_by;
    const auto before = program_->counters()[STEER_FROM_HOST];
    const auto result =
        run_program(program_->catch_program(), frame, std::as_bytes(std::span(&context, 1)));
    EXPECT_EQ(result.frame, frame);
    const bool is_redirected = result.action == TC_ACT_REDIRECT;
    if (!is_redirected) {
      EXPECT_EQ(static_cast<int>(result.action), TC_ACT_UNSPEC);
    }
    EXPECT_EQ(program_->counters()[STEER_FROM_HOST] - before, is_redirected ? 1U : 0U);
    return is_redirected;
  }

  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> maps_;
  unsigned loopback_ = 0;
};

TEST_F(CatchAnswers, OfServersOnTheDirector) {
  serve();
  const auto answer = ports(8080, 40000);
  EXPECT_TRUE(is_caught(frame4(kReal, kClient, kTcp, answer)));
  EXPECT_TRUE(is_caught(frame6(kReal6, kClient6, kTcp, answer)));
  EXPECT_TRUE(is_caught(tagged(frame4(kReal, kClient, kTcp, answer))));
  EXPECT_TRUE(is_caught(frame4(kVirtual, kClient, kTcp, ports(80, 40000)))) << "direct routing";
  EXPECT_TRUE(is_caught(frame4(kReal, kClient, kUdp, Bytes(64), 0x2000))) << "fragment";
  EXPECT_TRUE(is_caught(frame4(kReal, kClient, kUdp, Bytes(64), 7))) << "later fragment";
  const auto request = ipv4(kClient, kReal, kTcp, ports(40000, 8080));
  EXPECT_TRUE(is_caught(frame4(kReal, kClient, kIcmp, icmp(3, 3, request)))) << "nobody listens";
}

TEST_F(CatchAnswers, NothingElse) {
  serve();
  const auto answer = ports(8080, 40000);
  EXPECT_FALSE(is_caught(frame4(kReal, kClient, kTcp, answer), 5)) << "forwarded, not the host's";
  EXPECT_FALSE(is_caught(frame4(kReal, kClient, kTcp, ports(22, 40000)))) << "another port";
  EXPECT_FALSE(is_caught(frame4(kReal, kClient, kUdp, answer))) << "another protocol";
  EXPECT_FALSE(is_caught(frame4("10.0.0.2", kClient, kTcp, answer))) << "another address";
  EXPECT_FALSE(is_caught(frame4(kClient, kReal, kTcp, ports(40000, 8080)))) << "to a server";
  EXPECT_FALSE(is_caught(frame4(kReal, kClient, kIcmp, icmp(0, 0, Bytes(32))))) << "echo reply";
  EXPECT_FALSE(is_caught(ethernet(0x0806, Bytes(28)))) << "ARP";
  EXPECT_FALSE(is_caught(frame4(kReal, kClient, kTcp, Bytes(2)))) << "cut off";
}

TEST_F(CatchAnswers, NothingWithoutTheTap) {
  const auto frame = frame4(kReal, kClient, kTcp, ports(8080, 40000));
  EXPECT_FALSE(is_caught(frame)) << "the interface is not served";
  ASSERT_TRUE(program_->set_interface(engine::InterfaceId{loopback_}, {}).has_value());
  EXPECT_FALSE(is_caught(frame)) << "no TAP, or none any more";
}

/// Both ways of attaching, on the loopback of the test's own network namespace.
TEST_F(CatchAnswers, AttachesByLinkOrAsFilter) {
  datapath::LinkChange loopback;
  loopback.interface.id = engine::InterfaceId{loopback_};
  loopback.interface.name = "lo";
  for (const auto way : {EgressHook::Way::kLink, EgressHook::Way::kFilter}) {
    auto first = EgressHook::attach(program_->catch_program(), loopback, way);
    ASSERT_TRUE(first) << first.error();
    if (way == EgressHook::Way::kFilter) {
      EXPECT_EQ((*first)->way(), way);
    }
    // What a killed process left is replaced.
    auto second = EgressHook::attach(program_->catch_program(), loopback, way);
    EXPECT_TRUE(second) << second.error();
  }
  datapath::LinkChange nowhere;
  nowhere.interface.id = engine::InterfaceId{0x7ffffff0};
  nowhere.interface.name = "nowhere";
  const auto failed = EgressHook::attach(program_->catch_program(), nowhere);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().find("interface nowhere"), std::string::npos) << failed.error();
}

}  // namespace
}  // namespace lb::tests
