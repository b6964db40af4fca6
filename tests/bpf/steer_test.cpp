// SPDX-License-Identifier: Apache-2.0
// Which packets the XDP program steers to the engine, and which it leaves to the host. The kernel
// runs the program; no engine listens, so a steered packet must be dropped and never passed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <random>

#include "datapath/steer_program.hpp"
#include "datapath/steering_maps.hpp"
#include "frame_builder.hpp"
#include "net/parse.hpp"
#include "program_run.hpp"

namespace lb::tests {
namespace {

using datapath::SteeringMaps;
using datapath::SteerProgram;
using Side = engine::SteeredEndpoint::Side;

constexpr auto kClient = "198.51.100.7";
constexpr auto kVirtual = "192.0.2.10";
constexpr auto kReal = "10.0.0.2";
constexpr auto kClient6 = "2001:db8:1::7";
constexpr auto kVirtual6 = "2001:db8::10";
constexpr auto kReal6 = "2001:db8:2::2";

engine::SteeredEndpoint endpoint(Side side, std::uint8_t protocol, std::string_view address,
                                 std::uint16_t port) {
  return {.side = side,
          .protocol = net::Protocol{protocol},
          .end = {.address = net::IpAddress::from_text(address).value(),
                  .port = net::Port::from_host(port)}};
}

class Steer : public ::testing::Test {
 protected:
  void SetUp() override { load(1024); }

  void load(std::uint32_t endpoints) {
    auto loaded = SteerProgram::load(endpoints, 1024);
    if (!loaded && ::geteuid() != 0) GTEST_SKIP() << loaded.error();
    ASSERT_TRUE(loaded) << loaded.error();
    program_ = std::move(*loaded);
    maps_ = std::make_unique<SteeringMaps>(program_->endpoint_maps(),
                                           [](datapath::LogLevel, std::string_view) {});
  }

  void add(Side side, std::uint8_t protocol, std::string_view address, std::uint16_t port) {
    maps_->endpoint_added(endpoint(side, protocol, address, port));
  }
  void remove(Side side, std::uint8_t protocol, std::string_view address, std::uint16_t port) {
    maps_->endpoint_removed(endpoint(side, protocol, address, port));
  }
  void add_usual() {
    add(Side::kVirtual, kTcp, kVirtual, 80);
    add(Side::kVirtual, kUdp, kVirtual, 500);
    add(Side::kReal, kTcp, kReal, 8080);
    add(Side::kVirtual, kTcp, kVirtual6, 80);
    add(Side::kReal, kTcp, kReal6, 8080);
  }

  ProgramRun<Bytes> run(const Bytes& frame) { return run_program(program_->xdp_program(), frame); }

  /// What the program decided about `frame`, by the counter that moved. Checks the action.
  int decision(const Bytes& frame) {
    const auto before = program_->counters();
    const auto result = run(frame);
    const auto after = program_->counters();
    int decided = -1;
    for (int i = 0; i < STEER_COUNTERS; ++i) {
      if (i == STEER_DROP_NO_SOCKET) continue;
      const auto which = static_cast<std::size_t>(i);
      if (after[which] == before[which]) continue;
      EXPECT_EQ(decided, -1) << "one packet moved two counters";
      decided = i;
    }
    const bool is_passed = decided == STEER_PASSED || decided == STEER_RETURNED;
    EXPECT_EQ(result.action, static_cast<std::uint32_t>(is_passed ? XDP_PASS : XDP_DROP));
    EXPECT_EQ(after[STEER_DROP_NO_SOCKET] - before[STEER_DROP_NO_SOCKET], is_passed ? 0U : 1U);
    return decided;
  }

  struct Case {
    const char* what;
    Bytes frame;
    int expected;
  };
  void check(const std::vector<Case>& cases) {
    for (const auto& [what, frame, expected] : cases) EXPECT_EQ(decision(frame), expected) << what;
  }

  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> maps_;
};

engine::SnatPrefix prefix(std::string_view address, unsigned length) {
  engine::SnatPrefix made;
  made.address = net::IpAddress::from_text(address).value();
  made.length = static_cast<std::uint8_t>(length);
  return made;
}

TEST_F(Steer, SourceNatByPrefixes) {
  auto inside = prefix("10.0.0.0", 24);
  inside.is_inside = true;
  auto inside6 = prefix("2001:db8:2::", 64);
  inside6.is_inside = true;
  auto own = prefix("10.0.0.1", 32);  // within: says what the longer ones say as well
  own.is_inside = own.is_own = true;
  auto pool = prefix("192.0.2.20", 32);  // on the host
  pool.is_outside = pool.is_own = true;
  pool.ports = {5000, 5999};
  auto routed = prefix("203.0.113.0", 28);
  routed.is_outside = true;
  const std::vector<engine::SnatPrefix> all{inside, own, pool, routed, inside6};
  const auto udp = [](std::string_view from, std::string_view to, unsigned port = 53) {
    return frame4(from, to, kUdp, ports(40000, port));
  };
  const auto echo = icmp(8, 0, Bytes(8));
  const std::vector<Case> cases{
      {"from inside", udp("10.0.0.2", kClient), STEER_SNAT},
      {"from inside, IPv6", frame6("2001:db8:2::2", kClient6, kTcp, ports(1, 2)), STEER_SNAT},
      {"an echo", frame4("10.0.0.2", kClient, kIcmp, echo), STEER_SNAT},
      {"a later fragment", frame4("10.0.0.2", kClient, kUdp, Bytes(8), 100), STEER_SNAT},
      {"another prefix", udp("10.0.1.2", kClient), STEER_PASSED},
      {"another protocol", frame4("10.0.0.2", kClient, kEsp, Bytes(16)), STEER_PASSED},
      {"neighbour discovery", frame6("2001:db8:2::2", kClient6, kIcmpv6, icmp(135, 0, Bytes(24))),
       STEER_PASSED},
      {"to the director", udp("10.0.0.2", "10.0.0.1"), STEER_PASSED},
      {"to a port of the pool", udp(kClient, "192.0.2.20", 5000), STEER_SNAT},
      {"to another port", udp(kClient, "192.0.2.20", 22), STEER_PASSED},
      {"an echo to the pool", frame4(kClient, "192.0.2.20", kIcmp, echo), STEER_SNAT},
      {"an error to the pool", frame4(kClient, "192.0.2.20", kIcmp, icmp(3, 1, Bytes(28))),
       STEER_SNAT},
      {"to a routed address", udp(kClient, "203.0.113.3", 22), STEER_SNAT},
      {"beyond it", udp(kClient, "203.0.113.16", 22), STEER_PASSED},
      {"to everybody",
       [&] {
         auto frame = udp("10.0.0.2", "10.0.0.255");
         frame[0] |= 1U;
         return frame;
       }(),
       STEER_PASSED},
  };
  for (const auto& each : cases) EXPECT_EQ(decision(each.frame), STEER_PASSED) << "no rules yet";
  maps_->snat_changed(all);
  check(cases);
  // A service comes first.
  add(Side::kVirtual, kUdp, "192.0.2.20", 5000);
  EXPECT_EQ(decision(udp(kClient, "192.0.2.20", 5000)), STEER_TO_VIRTUAL);
  remove(Side::kVirtual, kUdp, "192.0.2.20", 5000);
  // What is not said again is gone.
  maps_->snat_changed(std::span(all).first(2));
  EXPECT_EQ(decision(udp(kClient, "203.0.113.3", 22)), STEER_PASSED);
  EXPECT_EQ(decision(udp("10.0.0.2", kClient)), STEER_SNAT);
  maps_->snat_changed({});
  EXPECT_EQ(decision(udp("10.0.0.2", kClient)), STEER_PASSED);
}

TEST_F(Steer, WithoutEndpointsEverythingIsTheHosts) {
  check({
      {"TCP", frame4(kClient, kVirtual, kTcp, ports(40000, 80)), STEER_PASSED},
      {"ARP", ethernet(0x0806, Bytes(28)), STEER_PASSED},
      {"shortest frame", ethernet(kIpv4, {}), STEER_PASSED},
  });
}

TEST_F(Steer, PacketsForVirtualEndpoints) {
  add_usual();
  const auto web = ports(40000, 80);
  check({
      {"the service", frame4(kClient, kVirtual, kTcp, web), STEER_TO_VIRTUAL},
      {"another port: SSH", frame4(kClient, kVirtual, kTcp, ports(40000, 22)), STEER_PASSED},
      {"another protocol", frame4(kClient, kVirtual, kUdp, web), STEER_PASSED},
      {"another address", frame4(kClient, "192.0.2.11", kTcp, web), STEER_PASSED},
      {"from the service", frame4(kVirtual, kClient, kTcp, ports(80, 40000)), STEER_PASSED},
      {"ping", frame4(kClient, kVirtual, kIcmp, icmp(8, 0, Bytes(32))), STEER_PASSED},
      {"ESP goes with the key exchange", frame4(kClient, kVirtual, kEsp, Bytes(32)),
       STEER_TO_VIRTUAL},
      {"IP options", ethernet(kIpv4, ipv4(kClient, kVirtual, kTcp, web, 0, Bytes(12, 1))),
       STEER_TO_VIRTUAL},
      {"one tag", tagged(frame4(kClient, kVirtual, kTcp, web)), STEER_TO_VIRTUAL},
      {"two tags", tagged(tagged(frame4(kClient, kVirtual, kTcp, web)), 0x88a8), STEER_TO_VIRTUAL},
      {"IPv6", frame6(kClient6, kVirtual6, kTcp, web), STEER_TO_VIRTUAL},
      {"IPv6, another port", frame6(kClient6, kVirtual6, kTcp, ports(40000, 22)), STEER_PASSED},
      {"neighbour discovery", frame6(kClient6, kVirtual6, kIcmpv6, icmp(135, 0, Bytes(16))),
       STEER_PASSED},
      {"IPv6 options", frame6(kClient6, kVirtual6, 0, extension(60, extension(kTcp, web))),
       STEER_TO_VIRTUAL},
  });
}

TEST_F(Steer, PortZeroIsEveryPort) {
  add(Side::kVirtual, kTcp, kVirtual, 0);
  check({
      {"any port", frame4(kClient, kVirtual, kTcp, ports(40000, 12345)), STEER_TO_VIRTUAL},
      {"another protocol", frame4(kClient, kVirtual, kUdp, ports(40000, 12345)), STEER_PASSED},
  });
}

TEST_F(Steer, AnswersOfNatServers) {
  add_usual();
  check({
      {"answer", frame4(kReal, kClient, kTcp, ports(8080, 40000)), STEER_FROM_REAL},
      {"another port of the server", frame4(kReal, kClient, kTcp, ports(22, 40000)), STEER_PASSED},
      {"to the server", frame4(kClient, kReal, kTcp, ports(40000, 8080)), STEER_PASSED},
      {"IPv6", frame6(kReal6, kClient6, kTcp, ports(8080, 40000)), STEER_FROM_REAL},
  });
}

TEST_F(Steer, IcmpErrors) {
  add_usual();
  const auto answer = ipv4(kVirtual, kClient, kTcp, ports(80, 40000));
  const auto forwarded = ipv4(kClient, kReal, kTcp, ports(40000, 8080));
  const auto tunnel = ipv4("10.0.0.1", "10.0.0.3", 4, forwarded);
  const auto other = ipv4(kVirtual, kClient, kTcp, ports(22, 40000));
  const auto later = ipv4(kVirtual, kClient, kTcp, ports(80, 40000), 100);
  const auto answer6 = ipv6(kVirtual6, kClient6, kTcp, ports(80, 40000));
  check({
      {"about an answer", frame4(kClient, kVirtual, kIcmp, icmp(3, 4, answer)), STEER_ICMP_ERROR},
      {"from a router", frame4("198.51.100.1", kVirtual, kIcmp, icmp(11, 0, answer)),
       STEER_ICMP_ERROR},
      {"eight bytes of payload are enough",
       frame4(kClient, kVirtual, kIcmp, icmp(3, 4, Bytes(answer.begin(), answer.begin() + 28))),
       STEER_ICMP_ERROR},
      {"ports cut off",
       frame4(kClient, kVirtual, kIcmp, icmp(3, 4, Bytes(answer.begin(), answer.begin() + 22))),
       STEER_PASSED},
      {"about a packet on its way to a server",
       frame4("10.0.0.254", kClient, kIcmp, icmp(3, 1, forwarded)), STEER_ICMP_ERROR},
      {"about a tunnel packet", frame4("10.0.0.3", "10.0.0.1", kIcmp, icmp(3, 4, tunnel)),
       STEER_ICMP_ERROR},
      {"about another connection", frame4(kClient, kVirtual, kIcmp, icmp(3, 4, other)),
       STEER_PASSED},
      {"about a later fragment", frame4(kClient, kVirtual, kIcmp, icmp(3, 4, later)), STEER_PASSED},
      {"a type that IPVS does not relate", frame4(kClient, kVirtual, kIcmp, icmp(12, 0, answer)),
       STEER_PASSED},
      {"IPv6 too big", frame6(kClient6, kVirtual6, kIcmpv6, icmp(2, 0, answer6)), STEER_ICMP_ERROR},
      {"IPv6 echo with the same bytes", frame6(kClient6, kVirtual6, kIcmpv6, icmp(128, 0, answer6)),
       STEER_PASSED},
  });
}

TEST_F(Steer, FragmentsGoTogether) {
  add_usual();
  constexpr std::uint32_t kMore = 0x2000;
  const auto web = ports(40000, 80);
  check({
      {"first", frame4(kClient, kVirtual, kTcp, web, kMore), STEER_FRAGMENT},
      {"later", frame4(kClient, kVirtual, kTcp, web, 10), STEER_FRAGMENT},
      {"of an ICMP message", frame4(kClient, kVirtual, kIcmp, icmp(8, 0, web), kMore),
       STEER_FRAGMENT},
      {"from a NAT server", frame4(kReal, kClient, kUdp, web, 10), STEER_FRAGMENT},
      {"to an address without endpoints", frame4(kClient, kReal, kTcp, web, kMore), STEER_PASSED},
      {"IPv6 first", frame6(kClient6, kVirtual6, 44, fragment_header(kTcp, 0, true, web)),
       STEER_FRAGMENT},
      {"IPv6 later", frame6(kClient6, kVirtual6, 44, fragment_header(kTcp, 5, false, web)),
       STEER_FRAGMENT},
      {"IPv6 for others", frame6(kVirtual6, kClient6, 44, fragment_header(kTcp, 5, false, web)),
       STEER_PASSED},
  });
}

TEST_F(Steer, WhatCantBeReadIsNotPassedToTheHost) {
  add_usual();
  Bytes chain = ports(40000, 80);
  for (int i = 0; i < 12; ++i) chain = extension(i == 0 ? kTcp : 60, chain);
  check({
      {"ports cut off", frame4(kClient, kVirtual, kTcp, {1, 2}), STEER_ODD},
      {"too many extension headers", frame6(kClient6, kVirtual6, 60, chain), STEER_ODD},
      {"too many, for others", frame6(kVirtual6, kClient6, 60, chain), STEER_PASSED},
      {"extension header cut off", frame6(kClient6, kVirtual6, 60, {kTcp, 0}), STEER_ODD},
  });
}

TEST_F(Steer, RemovedEndpointsAreTheHostsAgain) {
  add_usual();
  const auto web = frame4(kClient, kVirtual, kTcp, ports(40000, 80));
  const auto fragment = frame4(kClient, kVirtual, kTcp, ports(40000, 80), 10);
  remove(Side::kVirtual, kTcp, kVirtual, 80);
  EXPECT_EQ(decision(web), STEER_PASSED);
  EXPECT_EQ(decision(fragment), STEER_FRAGMENT) << "the address has another endpoint";
  remove(Side::kVirtual, kUdp, kVirtual, 500);
  EXPECT_EQ(decision(fragment), STEER_PASSED);
}

TEST_F(Steer, MoreEndpointsThanTheMapTakes) {
  load(8);
  if (IsSkipped()) return;
  for (std::uint16_t port = 1; port <= 100; ++port) add(Side::kVirtual, kTcp, kVirtual, port);
  for (std::uint16_t port = 1; port <= 100; ++port) {
    EXPECT_EQ(decision(frame4(kClient, kVirtual, kTcp, ports(40000, port))), STEER_TO_VIRTUAL);
  }
  for (std::uint16_t port = 1; port <= 100; ++port) remove(Side::kVirtual, kTcp, kVirtual, port);
  EXPECT_EQ(decision(frame4(kClient, kVirtual, kTcp, ports(40000, 50))), STEER_PASSED);
}

TEST_F(Steer, OwnReturnHeaderIsTakenOff) {
  add_usual();
  const auto frame = frame4(kClient, kVirtual, kTcp, ports(40000, 80));
  const auto& secret = program_->return_secret();
  Bytes header(secret.begin(), secret.end());
  header = header + be16(STEER_RETURN_PROTOCOL);
  const auto result = run(header + frame);
  EXPECT_EQ(result.action, static_cast<std::uint32_t>(XDP_PASS));
  EXPECT_EQ(result.frame, frame);
  EXPECT_EQ(decision(header + frame), STEER_RETURNED);

  header[11] = static_cast<std::uint8_t>(header[11] + 1);
  const auto forged = run(header + frame);
  EXPECT_EQ(forged.frame, header + frame) << "a wrong secret takes nothing off";
  EXPECT_EQ(decision(header + frame), STEER_PASSED);
}

/// Any bytes: the program ends with pass or drop, and a frame is left as it was.
TEST_F(Steer, HostileBytes) {
  add_usual();
  std::mt19937 random(7);  // NOLINT: the same sequence in every run
  const std::vector<Bytes> seeds = {
      frame4(kClient, kVirtual, kTcp, ports(40000, 80)),
      frame4(kClient, kVirtual, kIcmp, icmp(3, 4, ipv4(kVirtual, kClient, kTcp, ports(80, 40000)))),
      frame6(kClient6, kVirtual6, 0, extension(43, extension(kTcp, ports(40000, 80)))),
      frame6(kClient6, kVirtual6, kIcmpv6,
             icmp(1, 0, ipv6(kVirtual6, kClient6, 60, extension(kTcp, ports(80, 40000))))),
      frame6(kClient6, kVirtual6, 44, fragment_header(kTcp, 0, true, ports(40000, 80))),
  };
  for (int i = 0; i < 20000; ++i) {
    Bytes frame = seeds[random() % seeds.size()];
    if (random() % 4 == 0) frame = tagged(frame);
    for (auto changes = random() % 6; changes > 0; --changes) {
      frame[12 + random() % (frame.size() - 12)] = static_cast<std::uint8_t>(random());
    }
    if (random() % 3 == 0) frame.resize(14 + random() % (frame.size() - 13));
    const auto result = run(frame);
    ASSERT_TRUE(result.action == XDP_PASS || result.action == XDP_DROP);
    ASSERT_EQ(result.frame, frame);
  }
}

/// The oracle is the engine's own parser over plain comparisons.
TEST_F(Steer, AgreesWithTheParserOfTheEngine) {
  add_usual();
  std::mt19937 random(11);  // NOLINT
  const auto pick = [&](auto... items) {
    const std::array choices = {items...};
    return choices[random() % choices.size()];
  };
  int steered = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto protocol = pick(kTcp, kUdp);
    const auto payload = ports(pick(80U, 8080U, 500U), pick(80U, 8080U, 500U));
    auto frame = random() % 2 == 0
                     ? frame4(pick(kClient, kVirtual, kReal), pick(kClient, kVirtual, kReal),
                              protocol, payload, pick(0U, 0U, 0x4000U, 0x2000U, 7U))
                     : frame6(pick(kClient6, kVirtual6, kReal6), pick(kClient6, kVirtual6, kReal6),
                              60, extension(protocol, payload));
    if (random() % 3 == 0) frame = tagged(frame);
    const auto headers = net::parse_frame(std::as_bytes(std::span(frame)));
    ASSERT_TRUE(headers);
    const auto is = [](const net::IpAddress& address, auto... texts) {
      return ((address == *net::IpAddress::from_text(texts)) || ...);
    };
    const bool tcp = headers->protocol == net::Protocol::kTcp;
    const auto to = headers->destination_port.to_host();
    const auto from = headers->source_port.to_host();
    const bool to_virtual = is(headers->destination, kVirtual, kVirtual6);
    const bool from_real = is(headers->source, kReal, kReal6);
    int expected = STEER_PASSED;
    if (headers->is_fragment()) {
      if (to_virtual || from_real) expected = STEER_FRAGMENT;
    } else if ((to_virtual && tcp && to == 80) ||
               (is(headers->destination, kVirtual) && !tcp && to == 500)) {
      expected = STEER_TO_VIRTUAL;
    } else if (from_real && tcp && from == 8080) {
      expected = STEER_FROM_REAL;
    }
    ASSERT_EQ(decision(frame), expected);
    steered += expected != STEER_PASSED ? 1 : 0;
  }
  EXPECT_GT(steered, 1000);
}

}  // namespace
}  // namespace lb::tests
