// SPDX-License-Identifier: Apache-2.0
// What SNAT does to packets, seen from outside the director.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "engine/allocation_counter.hpp"
#include "engine/removal.hpp"
#include "engine/snat.hpp"
#include "engine/testing/checksum_oracle.hpp"
#include "engine/testing/kept_memory.hpp"
#include "engine/testing/lab.hpp"

namespace lb::engine {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using model::SnatKind;
using model::SnatRule;
using net::Protocol;
using Kind = Verdict::Kind;

constexpr std::uint8_t kSyn = net::kTcpSyn;
constexpr std::uint8_t kAck = net::kTcpAck;
constexpr std::uint8_t kRst = net::kTcpRst;

SnatRule pool_rule(std::string_view inside, unsigned length, std::string_view first,
                   std::string_view last = "") {
  SnatRule rule;
  rule.name = "out";
  rule.inside = {.address = ip(inside), .length = static_cast<std::uint8_t>(length)};
  rule.family = rule.inside.address.family();
  rule.destination = model::MarkRule::any(rule.family);
  (void)rule.add({ip(first), ip(last.empty() ? first : last)});
  return rule;
}
SnatRule out4() { return pool_rule("10.0.0.0", 16, "192.0.2.11"); }
SnatRule out6() {
  auto rule = pool_rule("2001:db8:3::", 64, "2001:db8:2::20");
  rule.name = "out6";
  return rule;
}
SnatRule fixed_rule(const net::IpAddress& inside, const net::IpAddress& outside) {
  auto rule =
      pool_rule(inside.to_text(), static_cast<unsigned>(inside.size() * 8), outside.to_text());
  rule.name = "fixed";
  rule.kind = SnatKind::kStatic;
  return rule;
}

/// An echo request or reply.
Frame echo(const net::IpAddress& from, const net::IpAddress& to, bool is_request,
           std::uint16_t identifier) {
  auto packet = between(from.is_v4() ? Protocol::kIcmp : Protocol::kIcmpv6, {from, {}}, {to, {}});
  Frame segment(24);
  const int type = from.is_v4() ? (is_request ? 8 : 0) : (is_request ? 128 : 129);
  segment[0] = static_cast<std::byte>(type);
  net::store(std::span(segment), 4, net::Port::from_host(identifier));
  seal(packet, segment, 2);
  return build(packet, segment);
}

std::uint16_t identifier_of(const Frame& frame, const net::Headers& headers) {
  return net::load<net::Port>(std::span<const std::byte>(frame), headers.transport_offset + 4U)
      .to_host();
}

class DirectorSnatPath : public testing::Test {
 protected:
  void add(const SnatRule& rule) { ASSERT_TRUE(add_snat_rule(lab_.director, rule)); }

  /// Sends a frame that must be passed on by `out`, with right checksums; its headers.
  net::Headers passed(const Frame& frame, InterfaceId ingress, InterfaceId out) {
    const auto verdict = lab_.process(frame, ingress);
    EXPECT_EQ(verdict.kind, Kind::kSend);
    EXPECT_EQ(verdict.out, out);
    if (lab_.sent.empty()) return {};
    EXPECT_EQ(ChecksumOracle::fault(lab_.sent[0]), "");
    const auto headers = net::parse_frame(lab_.sent[0]);
    EXPECT_TRUE(headers);
    return headers ? *headers : net::Headers{};
  }
  net::Headers outward(const Frame& frame) { return passed(frame, kInside, kOutside); }
  net::Headers inward(const Frame& frame) { return passed(frame, kOutside, kInside); }

  DropReason lost(const Frame& frame, InterfaceId ingress = kInside) {
    const auto verdict = lab_.process(frame, ingress);
    EXPECT_EQ(verdict.kind, Kind::kDrop);
    return verdict.reason;
  }
  model::SnatRuleInfo info(const char* name = "out") {
    return snat_rule(lab_.director, name).value();
  }
  /// Opens a TCP connection; where it seems to come from.
  net::Endpoint open(const net::Endpoint& inside, const net::Endpoint& outside) {
    const auto headers = outward(tcp(inside, outside, kSyn));
    return {headers.source, headers.source_port};
  }

  Lab lab_;
};

TEST_F(DirectorSnatPath, TcpGoesOutAndAnswersFindBack) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside] :
       {std::pair{server(1, 40000), client(443)}, std::pair{server6(1, 40000), client6(443)}}) {
    const auto shown = open(inside, outside);
    EXPECT_EQ(shown.address, ip(inside.address.is_v4() ? "192.0.2.11" : "2001:db8:2::20"));
    EXPECT_GE(shown.port.to_host(), SnatRule::kFirstPort);
    const auto answer = inward(tcp(outside, shown, kSyn | kAck));
    EXPECT_EQ(answer.source, outside.address);
    EXPECT_EQ(answer.destination, inside.address);
    EXPECT_EQ(answer.destination_port, inside.port);
    const auto third = outward(tcp(inside, outside, kAck));
    EXPECT_EQ(third.source_port, shown.port);
    const auto all = lab_.connections();
    ASSERT_EQ(all.size(), inside.address.is_v4() ? 1U : 2U);
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& connection) {
      return connection.client == inside;
    });
    ASSERT_NE(found, all.end());
    EXPECT_EQ(found->virtual_end, shown);
    EXPECT_EQ(found->destination, outside);
    EXPECT_EQ(found->state, model::Name("ESTABLISHED"));
    EXPECT_EQ(found->snat_rule, model::Name(inside.address.is_v4() ? "out" : "out6"));
    EXPECT_EQ(found->expires_in, 7440U);
  }
  const auto seen = info();
  EXPECT_EQ(seen.active_connections, 1U);
  EXPECT_EQ(seen.clients, 1U);
  EXPECT_EQ(seen.statistics.counters.connections, 1U);
  EXPECT_EQ(seen.statistics.counters.packets_in, 2U);
  EXPECT_EQ(seen.statistics.counters.packets_out, 1U);
}

TEST_F(DirectorSnatPath, UdpAndEchoToo) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside] :
       {std::pair{server(1, 5353), client(53)}, std::pair{server6(1, 5353), client6(53)}}) {
    const auto question = outward(udp(inside, outside));
    const auto answer = inward(udp(outside, {question.source, question.source_port}));
    EXPECT_EQ(answer.destination, inside.address);
    EXPECT_EQ(answer.destination_port, inside.port);

    const auto request = outward(echo(inside.address, outside.address, true, 77));
    const auto number = identifier_of(lab_.sent[0], request);
    EXPECT_EQ(request.source, question.source);
    const auto reply = inward(echo(outside.address, request.source, false, number));
    EXPECT_EQ(reply.destination, inside.address);
    EXPECT_EQ(identifier_of(lab_.sent[0], reply), 77U);
    // An identifier that nobody has is the host's, or nobody's.
    const auto verdict =
        lab_.process(echo(outside.address, request.source, false, number ^ 1U), kOutside);
    EXPECT_EQ(verdict.kind, inside.address.is_v4() ? Kind::kHost : Kind::kDrop);
  }
  lab_.pass(std::chrono::seconds(59));
  EXPECT_EQ(lab_.director.connection_count(), 4U);
  lab_.pass(std::chrono::seconds(2));
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  lab_.pass(std::chrono::seconds(240));
  EXPECT_EQ(lab_.director.connection_count(), 0U);
  EXPECT_EQ(info().clients, 0U);
}

TEST_F(DirectorSnatPath, WithoutARuleItIsTheHosts) {
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  auto rule = out4();
  rule.destination = {.address = ip("203.0.113.0"), .length = 24};
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(sctp(server(1), client(443), 1), kInside).kind, Kind::kHost);
  rule = out4();
  rule.name = "by-interface";
  rule.interface = "inside";
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kHost);
  rule.name = "right";
  rule.interface = "outside";
  add(rule);
  EXPECT_EQ(lab_.process(tcp(server(1), client(443), kSyn), kInside).kind, Kind::kSend);
  // To the director itself, and to nobody in particular.
  EXPECT_EQ(lab_.process(tcp(server(1), end("10.0.0.1", 22), kSyn), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(udp(server(1), end("255.255.255.255", 67)), kInside).kind, Kind::kHost);
  EXPECT_EQ(lab_.process(udp(server(1), end("224.0.0.9", 520)), kInside).kind, Kind::kHost);
  // From outside with an inside address.
  EXPECT_EQ(lab_.process(tcp(server(2), client(443), kSyn), kOutside).kind, Kind::kHost);
}

TEST_F(DirectorSnatPath, OnlyAFirstPacketOpens) {
  add(out4());
  EXPECT_EQ(lost(tcp(server(1), client(443), kAck)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(tcp(server(1), client(443), kSyn | kAck)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(tcp(server(1), client(443), kRst)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lost(echo(server(1).address, client().address, false, 5)), DropReason::kNotFirstPacket);
  EXPECT_EQ(lab_.director.connection_count(), 0U);
}

TEST_F(DirectorSnatPath, APortServesManyDestinations) {
  auto rule = out4();
  rule.ports = {5000, 5000};
  add(rule);
  for (unsigned port = 1; port <= 50; ++port) {
    EXPECT_EQ(open(server(1), client(port)), end("192.0.2.11", 5000)) << port;
  }
  // Also for other protocols, but not twice for one destination.
  EXPECT_EQ(outward(udp(server(1), client(1))).source_port, port_of(5000));
  EXPECT_EQ(lost(tcp(server(2), client(1), kSyn)), DropReason::kSnatPoolExhausted);
  // Whoever has a connection keeps it.
  EXPECT_EQ(outward(tcp(server(1), client(1), kAck)).source_port, port_of(5000));
}

TEST_F(DirectorSnatPath, AnExhaustedPoolSaysWhoWasRefused) {
  auto rule = out4();
  rule.ports = {5000, 5003};
  add(rule);
  std::set<unsigned> ports;
  net::Endpoint shown;
  for (unsigned i = 0; i < 4; ++i) {
    shown = open(server(1, 100 + i), client(443));
    ports.insert(shown.port.to_host());
  }
  EXPECT_EQ(ports, (std::set<unsigned>{5000, 5001, 5002, 5003}));
  EXPECT_EQ(lost(tcp(server(2), client(443), kSyn)), DropReason::kSnatPoolExhausted);
  // The client is told (RFC 6888, REQ-8).
  ASSERT_EQ(lab_.sent.size(), 1U);
  const auto told = net::parse_frame(lab_.sent[0]);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->destination, server(2).address);
  EXPECT_EQ(told->icmp_type, 3);
  EXPECT_EQ(told->icmp_code, 1);
  EXPECT_EQ(info().refused_pool, 1U);
  EXPECT_EQ(info().last_refusal, model::SnatRefusal::kPoolExhausted);
  EXPECT_EQ(info().last_refused, server(2).address);
  EXPECT_EQ(info().last_refused_destination, client(443));
  // A connection that goes makes room: the last was refused.
  EXPECT_EQ(inward(tcp(client(443), shown, kRst)).destination_port, port_of(103));
  lab_.pass(std::chrono::seconds(11));
  EXPECT_EQ(lab_.process(tcp(server(2), client(443), kSyn), kInside).kind, Kind::kSend);
  ASSERT_TRUE(zero_snat_rule(lab_.director, "out"));
  EXPECT_EQ(info().refused_pool, 0U);
  EXPECT_FALSE(info().last_refused);
}

TEST_F(DirectorSnatPath, AClientHasItsLimit) {
  auto rule = out4();
  rule.client_limit = 2;
  add(rule);
  const auto first = open(server(1, 1), client(443));
  (void)open(server(1, 2), client(443));
  EXPECT_EQ(lost(tcp(server(1, 3), client(443), kSyn)), DropReason::kSnatClientLimit);
  EXPECT_EQ(info().refused_limit, 1U);
  EXPECT_EQ(info().last_refused, server(1).address);
  (void)open(server(2, 1), client(443));
  EXPECT_EQ(info().clients, 2U);
  // Its connections still work, and one that ends makes room.
  (void)outward(tcp(server(1, 2), client(443), kAck));
  (void)inward(tcp(client(443), first, kRst));
  lab_.pass(std::chrono::seconds(11));
  (void)open(server(1, 3), client(443));
}

TEST_F(DirectorSnatPath, AFullTableIsCountedForTheRule) {
  add(out4());
  unsigned port = 0;
  while (lab_.process(tcp(server(1, ++port), client(443), kSyn), kInside).kind == Kind::kSend) {
  }
  EXPECT_EQ(lab_.dropped(DropReason::kTableFull), 1U);
  EXPECT_EQ(info().refused_table, 1U);
}

TEST_F(DirectorSnatPath, AClientKeepsItsAddress) {
  add(pool_rule("10.0.0.0", 16, "192.0.2.20", "192.0.2.27"));
  std::map<net::IpAddress, std::size_t> used;
  for (unsigned n = 1; n <= 16; ++n) {
    const auto shown = open(server(n, 1), client(443)).address;
    ++used[shown];
    EXPECT_EQ(open(server(n, 2), client(444)).address, shown);
    EXPECT_EQ(outward(udp(server(n, 3), client(53))).source, shown);
  }
  EXPECT_GT(used.size(), 3U);
}

TEST_F(DirectorSnatPath, PortsAreHardToForetell) {
  auto options = small_options();
  options.connection_capacity = 4096;
  Lab big(options);
  ASSERT_TRUE(add_snat_rule(big.director, out4()));
  std::set<unsigned> seen;
  std::set<int> steps;
  int previous = 0;
  unsigned lowest = 65535;
  unsigned highest = 0;
  for (unsigned i = 0; i < 2000; ++i) {
    big.process(tcp(server(1, 1000 + i), client(443), kSyn), kInside);
    ASSERT_EQ(big.sent.size(), 1U);
    const auto port = net::parse_frame(big.sent[0])->source_port.to_host();
    // Where the host's own connections get their ports, it keeps away.
    EXPECT_TRUE(port < 32768 || port > 60999) << port;
    seen.insert(port);
    steps.insert(int{port} - previous);
    previous = port;
    lowest = std::min<unsigned>(lowest, port);
    highest = std::max<unsigned>(highest, port);
  }
  EXPECT_EQ(seen.size(), 2000U);
  EXPECT_GT(steps.size(), 1900U);
  EXPECT_LT(lowest, 1200U);
  EXPECT_GT(highest, 65000U);
}

TEST_F(DirectorSnatPath, PortsOfTheHostAreLeftToIt) {
  HostPorts ports;
  ports.tcp.set(5000);
  ports.udp.set(5001);
  set_host_ports(lab_.director, ports);
  auto rule = out4();
  rule.ports = {5000, 5001};
  add(rule);
  EXPECT_EQ(open(server(1), client(443)).port, port_of(5001));
  EXPECT_EQ(outward(udp(server(1), client(443))).source_port, port_of(5000));
  EXPECT_EQ(lost(tcp(server(2), client(443), kSyn)), DropReason::kSnatPoolExhausted);
}

TEST_F(DirectorSnatPath, ServicesComeFirst) {
  ASSERT_TRUE(lab_.director.add_service(service_at(vip())));
  ASSERT_TRUE(lab_.director.add_destination(key_of(vip()), to(server(1))));
  auto rule = pool_rule("10.0.0.0", 16, vip().address.to_text());
  rule.ports = {80, 81};
  add(rule);
  // A service's port is not given away.
  EXPECT_EQ(open(server(2), client(443)).port, port_of(81));
  EXPECT_EQ(lost(tcp(server(3), client(443), kSyn)), DropReason::kSnatPoolExhausted);
  // Requests to the service, from both sides, and its answers.
  EXPECT_EQ(inward(tcp(client(), vip(), kSyn)).destination, server(1).address);
  EXPECT_EQ(outward(tcp(server(1), client(), kSyn | kAck)).source, vip().address);
  EXPECT_EQ(passed(tcp(server(4), vip(), kSyn), kInside, kInside).destination, server(1).address);
}

TEST_F(DirectorSnatPath, AStaticMappingWorksBothWays) {
  const auto outside = ip("192.0.2.20");  // only routed to the director
  add(out4());
  add(fixed_rule(server(5).address, outside));
  const auto shown = open(server(5, 4000), client(443));
  EXPECT_EQ(shown, (net::Endpoint{outside, port_of(4000)}));
  EXPECT_EQ(inward(tcp(client(443), shown, kSyn | kAck)).destination_port, port_of(4000));
  // Opened from outside.
  EXPECT_EQ(inward(tcp(client(5000), {outside, port_of(22)}, kSyn)).destination, server(5).address);
  EXPECT_EQ(outward(tcp(server(5, 22), client(5000), kSyn | kAck)).source, outside);
  EXPECT_EQ(inward(tcp(client(5000), {outside, port_of(22)}, kAck)).destination, server(5).address);
  EXPECT_EQ(inward(echo(client().address, outside, true, 9)).destination, server(5).address);
  EXPECT_EQ(outward(echo(server(5).address, client().address, false, 9)).source, outside);
  EXPECT_EQ(lost(tcp(client(5001), {outside, port_of(22)}, kAck), kOutside),
            DropReason::kNotFirstPacket);
  const auto all = lab_.connections();
  EXPECT_EQ(std::count_if(all.begin(), all.end(),
                          [](const auto& c) { return c.state == model::Name("ESTABLISHED"); }),
            1);
}

TEST_F(DirectorSnatPath, OnlyMappedPortsAreReachedFromOutside) {
  add(out4());
  auto web = fixed_rule(server(5, 80).address, ip("192.0.2.20"));
  web.protocol = 6;
  web.ports = {80, 80};
  add(web);
  EXPECT_EQ(inward(tcp(client(), end("192.0.2.20", 80), kSyn)).destination, server(5).address);
  EXPECT_EQ(lost(tcp(client(), end("192.0.2.20", 81), kSyn), kOutside),
            DropReason::kSnatNoConnection);
  EXPECT_EQ(lost(udp(client(), end("192.0.2.20", 80)), kOutside), DropReason::kSnatNoConnection);
  // What the host itself opens goes by the pool.
  EXPECT_EQ(open(server(5, 4000), client(443)).address, ip("192.0.2.11"));
}

TEST_F(DirectorSnatPath, InsideHostsMeetAtAMappedAddress) {
  add(out4());
  const auto outside = ip("192.0.2.20");
  add(fixed_rule(server(5).address, outside));
  const auto through = [&](const Frame& frame) { return passed(frame, kInside, kInside); };
  const auto first = through(tcp(server(1, 4000), {outside, port_of(80)}, kSyn));
  EXPECT_EQ(first.destination, server(5).address);
  EXPECT_EQ(first.source, ip("192.0.2.11"));
  const net::Endpoint shown{first.source, first.source_port};
  const auto back = through(tcp(server(5, 80), shown, kSyn | kAck));
  EXPECT_EQ(back.source, outside);
  EXPECT_EQ(back.source_port, port_of(80));
  EXPECT_EQ(back.destination, server(1).address);
  EXPECT_EQ(back.destination_port, port_of(4000));
  EXPECT_EQ(through(tcp(server(1, 4000), {outside, port_of(80)}, kAck)).source_port, shown.port);
  EXPECT_EQ(lab_.director.connection_count(), 2U);
  // To itself, by its own outside address.
  EXPECT_EQ(through(udp(server(5, 7), {outside, port_of(53)})).source, outside);
  // An error about it finds the host that sent it.
  (void)through(udp(server(2, 9000), {outside, port_of(99)}));
  const auto arrived = lab_.sent[0];
  const auto told =
      through(port_unreachable(server(5).address, net::parse_frame(arrived)->source, arrived));
  EXPECT_EQ(told.destination, server(2).address);
  EXPECT_EQ(told.source, outside);
  const auto quoted = net::parse_embedded(lab_.sent[0], told.transport_offset + 8U);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->source_port, port_of(9000));
  EXPECT_EQ(quoted->destination, outside);
}

TEST_F(DirectorSnatPath, ErrorsFromOutsideFindTheInsideHost) {
  add(out4());
  add(out6());
  for (const auto& [inside, outside, router] :
       {std::tuple{server(1, 5353), client(53), ip("192.0.2.254")},
        std::tuple{server6(1, 5353), client6(53), ip("2001:db8:2::fe")}}) {
    for (const bool is_echo : {false, true}) {
      const auto sent =
          outward(is_echo ? echo(inside.address, outside.address, true, 77) : udp(inside, outside));
      const auto about = lab_.sent[0];
      const bool is_v4 = inside.address.is_v4();
      const auto error = inward(icmp_error(router, sent.source, about, is_v4 ? 11 : 3, 0));
      EXPECT_EQ(error.source, router);
      EXPECT_EQ(error.destination, inside.address);
      const std::span<const std::byte> bytes(lab_.sent[0]);
      const auto quoted = net::parse_embedded(bytes, error.transport_offset + 8U);
      ASSERT_TRUE(quoted);
      EXPECT_EQ(quoted->source, inside.address);
      if (is_echo) {
        EXPECT_EQ(identifier_of(lab_.sent[0], *quoted), 77U);
        // The quoted echo is as the host sent it, checksum and all.
        Frame alone(bytes.begin(), bytes.begin() + 14);
        alone.insert(alone.end(), bytes.begin() + quoted->ip_offset, bytes.begin() + error.end);
        EXPECT_EQ(ChecksumOracle::fault(alone), "");
      } else {
        EXPECT_EQ(quoted->source_port, inside.port);
      }
    }
  }
}

TEST_F(DirectorSnatPath, ErrorsFromInsideGoOutUnderThePoolsAddress) {
  add(out4());
  const auto sent = outward(udp(server(1, 5353), client(53)));
  const net::Endpoint shown{sent.source, sent.source_port};
  (void)inward(udp(client(53), shown));
  const auto arrived = lab_.sent[0];
  const auto error = outward(port_unreachable(server(1).address, client().address, arrived));
  EXPECT_EQ(error.source, shown.address);
  EXPECT_EQ(error.destination, client().address);
  const auto quoted = net::parse_embedded(lab_.sent[0], error.transport_offset + 8U);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->destination, shown.address);
  EXPECT_EQ(quoted->destination_port, shown.port);
}

Frame segment(const net::Endpoint& from, const net::Endpoint& to, std::uint8_t flags,
              std::uint32_t sequence, std::uint32_t acknowledgement, std::size_t payload = 0) {
  const auto packet = [&] {
    auto made = between(Protocol::kTcp, from, to);
    made.payload = pattern(payload);
    return made;
  }();
  Frame bytes = segment_of(packet);
  net::store(std::span(bytes), 4, net::Be32::from_host(sequence));
  net::store(std::span(bytes), 8, net::Be32::from_host(acknowledgement));
  bytes[13] = std::byte{flags};
  seal(packet, bytes, 16);
  return build(packet, bytes);
}

TEST_F(DirectorSnatPath, ForgedErrorsAreDropped) {
  add(out4());
  const auto inside = server(1, 40000);
  const auto outside = client(443);
  const auto first = outward(segment(inside, outside, kSyn, 1000, 0));
  const net::Endpoint shown{first.source, first.source_port};
  const auto error = [&](std::uint32_t sequence) {
    const auto about = segment(shown, outside, kAck, sequence, 5001, 100);
    return lab_.process(icmp_error(ip("192.0.2.254"), shown.address, about, 3, 4, 1400), kOutside);
  };
  // About the SYN.
  EXPECT_EQ(error(1000).kind, Kind::kSend);
  (void)inward(segment(outside, shown, kSyn | kAck, 5000, 1001));
  (void)outward(segment(inside, outside, kAck, 1001, 5001));
  (void)outward(segment(inside, outside, kAck, 1001, 5001, 100));
  (void)outward(segment(inside, outside, kAck, 1101, 5001, 100));
  EXPECT_EQ(error(1001).kind, Kind::kSend);
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  for (const std::uint32_t wrong : {1000U, 1202U, 999999U, 0x80001001U, 0xffffffffU}) {
    EXPECT_EQ(error(wrong).reason, DropReason::kSnatForgedIcmp) << wrong;
  }
  // What was acknowledged is not on its way.
  (void)inward(segment(outside, shown, kAck, 5001, 1101));
  EXPECT_EQ(error(1001).reason, DropReason::kSnatForgedIcmp);
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  // An acknowledgement of what was never sent means nothing.
  (void)inward(segment(outside, shown, kAck, 5001, 90000));
  EXPECT_EQ(error(1101).kind, Kind::kSend);
  // About a connection that does not exist: the host has its own.
  const auto stranger = segment({shown.address, port_of(1)}, outside, kAck, 1101, 0);
  EXPECT_EQ(
      lab_.process(icmp_error(ip("192.0.2.254"), shown.address, stranger, 3, 4, 1400), kOutside)
          .kind,
      Kind::kHost);
  EXPECT_EQ(lab_.dropped(DropReason::kSnatForgedIcmp), 6U);
}

TEST_F(DirectorSnatPath, ErrorsToARoutedAddressThatFitNothingAreDropped) {
  add(pool_rule("10.0.0.0", 16, "192.0.2.20"));
  const auto about = udp(end("192.0.2.20", 5000), client(53));
  EXPECT_EQ(lost(port_unreachable(client().address, ip("192.0.2.20"), about), kOutside),
            DropReason::kSnatNoConnection);
  EXPECT_EQ(lost(tcp(client(), end("192.0.2.20", 5000), kSyn), kOutside),
            DropReason::kSnatNoConnection);
}

TEST_F(DirectorSnatPath, FragmentsGoTheWayOfTheirPacket) {
  add(out4());
  auto packet = between(Protocol::kUdp, server(1, 5353), client(53));
  packet.dont_fragment = false;
  packet.payload = pattern(2000);
  const auto whole = build(packet);
  EXPECT_EQ(lab_.process(fragment_of(whole, 1024, 2000), kInside).kind, Kind::kConsumed);
  EXPECT_TRUE(lab_.sent.empty());
  EXPECT_EQ(lab_.process(fragment_of(whole, 0, 1024), kInside).kind, Kind::kConsumed);
  ASSERT_GE(lab_.sent.size(), 2U);
  for (const auto& fragment : lab_.sent) {
    const auto headers = net::parse_frame(fragment);
    ASSERT_TRUE(headers);
    EXPECT_EQ(headers->source, ip("192.0.2.11"));
    EXPECT_TRUE(headers->is_fragment());
  }
}

TEST_F(DirectorSnatPath, ADeletedRuleTakesItsConnectionsAlong) {
  add(out4());
  (void)open(server(1), client(443));
  auto other = out4();
  other.name = "other";
  other.inside.length = 24;
  add(other);
  (void)open(server(2), client(443));
  ASSERT_TRUE(delete_snat_rule(lab_.director, "out"));
  EXPECT_EQ(lost(tcp(server(1), client(443), kAck)), DropReason::kDestinationRemoved);
  // A rule that takes the old one's place has nothing of it.
  auto again = out4();
  again.name = "again";
  add(again);
  EXPECT_EQ(info("again").clients, 0U);
  Outputs outputs;
  while (end_due(lab_.director, outputs)) {
  }
  ASSERT_EQ(lab_.connections().size(), 1U);
  EXPECT_EQ(lab_.connections()[0].snat_rule, model::Name("other"));
  EXPECT_EQ(info("again").clients, 0U);
  EXPECT_EQ(info("other").clients, 1U);
  (void)open(server(1), client(443));
  EXPECT_EQ(info("other").active_connections + info("other").inactive_connections, 2U);
}

TEST_F(DirectorSnatPath, ConnectionsOutliveTheProcess) {
  KeptMemory kept(64);
  auto options = small_options();
  options.memory = kept.memory();
  net::Endpoint shown;
  {
    Lab lab(options);
    lab.director.begin_saving();
    auto rule = out4();
    rule.client_limit = 2;
    ASSERT_TRUE(add_snat_rule(lab.director, rule));
    ASSERT_EQ(lab.process(tcp(server(1, 40000), client(443), kSyn), kInside).kind, Kind::kSend);
    const auto headers = net::parse_frame(lab.sent[0]);
    shown = {headers->source, headers->source_port};
    lab.pass(std::chrono::seconds(3));
  }
  options.hash_key = {99, 77};
  Lab next(options);
  const auto adoption = next.director.adopt(next.now);
  EXPECT_EQ(adoption.connections, 1U);
  EXPECT_EQ(adoption.lost, 0U);
  EXPECT_EQ(adoption.services, 0U);
  ASSERT_EQ(next.process(tcp(client(443), shown, kSyn | kAck), kOutside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(next.sent[0])->destination, server(1).address);
  ASSERT_EQ(next.process(tcp(server(1, 40000), client(443), kAck), kInside).kind, Kind::kSend);
  EXPECT_EQ(net::parse_frame(next.sent[0])->source_port, shown.port);
  const auto info = snat_rule(next.director, "out").value();
  EXPECT_EQ(info.clients, 1U);
  EXPECT_EQ(info.statistics.counters.packets_in, 2U);
  // The limit counts what was there.
  EXPECT_EQ(next.process(tcp(server(1, 1), client(443), kSyn), kInside).kind, Kind::kSend);
  EXPECT_EQ(next.process(tcp(server(1, 2), client(443), kSyn), kInside).reason,
            DropReason::kSnatClientLimit);
  EXPECT_EQ(next.director.service_count(), 0U);
}

TEST_F(DirectorSnatPath, NothingIsAllocatedForAPacket) {
  auto rule = out4();
  rule.client_limit = 3;
  rule.ports = {5000, 5001};
  add(rule);
  add(fixed_rule(server(5).address, ip("192.0.2.20")));
  for (const auto& frame :
       {tcp(server(1, 1), client(443), kSyn), tcp(server(1, 2), client(443), kSyn),
        tcp(server(1, 3), client(443), kSyn), udp(server(1, 1), client(53)),
        udp(server(1, 2), client(53)), echo(server(2).address, client().address, true, 3),
        udp(server(2), end("192.0.2.20", 53)), udp(client(), end("192.0.2.20", 53)),
        tcp(client(), end("192.0.2.20", 53), kAck)}) {
    lab_.outputs.clear();
    auto packet = lab_.buffer.receive(frame);
    const auto headers = net::parse_frame(frame);
    const bool is_outside = headers->source == client().address;
    const lb::test::AllocationCounter counter;
    (void)lab_.director.process(packet, is_outside ? kOutside : kInside, lab_.now, lab_.outputs);
    EXPECT_EQ(counter.count(), 0U);
  }
}

}  // namespace
}  // namespace lb::engine
