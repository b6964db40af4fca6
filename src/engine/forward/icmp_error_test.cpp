// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/icmp_error.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "engine/forward/icmp_related.hpp"
#include "engine/forward/test_packet.hpp"

namespace lb::engine {
namespace {

using net::IpAddress;
using net::Protocol;
using test::build;
using test::Frame;
using test::TestPacket;

IpAddress ip(const char* text) { return IpAddress::from_text(text).value(); }

class IcmpErrorTest : public ::testing::Test {
 protected:
  IcmpErrorTest() {
    network.set_interface({InterfaceId{1}, "ext", {{2, 0, 0, 0, 0, 1}}, 1500});
    network.add_address(InterfaceId{1}, ip("192.0.2.1"), 24);
    network.add_address(InterfaceId{1}, ip("192.0.2.10"), 32);
    network.add_address(InterfaceId{1}, ip("2001:db8:1::1"), 64);
    RouteEntry route;
    route.via = ip("192.0.2.254");
    route.out = InterfaceId{1};
    network.add_route(route);
    route.destination = IpAddress::any(net::Family::kIpv6);
    route.via = ip("2001:db8:1::fe");
    network.add_route(route);
  }
  bool send(const Frame& frame) {
    outputs.clear();
    const auto headers = net::parse_frame(frame).value();
    return send_icmp_error(frame, headers, IcmpError::port_unreachable(headers.family()),
                           net::Be16::from_host(9), network, outputs);
  }
  NetworkView network;
  Outputs outputs;
};

TEST_F(IcmpErrorTest, QuotesUpToTheLimitWithRightChecksums) {
  for (const bool v4 : {true, false}) {
    for (std::size_t size = 0; size < 1400; size += 7) {
      TestPacket packet;
      if (!v4) {
        packet.source = ip("2001:db8:c::7");
        packet.destination = ip("2001:db8:1::10");
      }
      packet.payload = test::pattern(size);
      const Frame frame = build(packet);
      ASSERT_TRUE(send(frame));
      const auto made = outputs.frames()[0].frame;
      EXPECT_EQ(outputs.frames()[0].verdict.kind, Verdict::Kind::kResolve);
      const auto headers = net::parse_frame(made);
      ASSERT_TRUE(headers);
      EXPECT_EQ(headers->destination, packet.source);
      EXPECT_EQ(headers->source, v4 ? packet.destination : ip("2001:db8:1::1"));
      EXPECT_TRUE(icmp_checksum_holds(made, *headers));
      const std::size_t ip_and_icmp = v4 ? 28 : 48;
      EXPECT_EQ(headers->ip_size(),
                std::min<std::size_t>(v4 ? 576 : 1280, ip_and_icmp + frame.size() - 14));
      EXPECT_TRUE(std::equal(made.begin() + static_cast<std::ptrdiff_t>(14 + ip_and_icmp),
                             made.end(), frame.begin() + 14));
    }
  }
}

TEST_F(IcmpErrorTest, SomePacketsGetNoError) {
  TestPacket packet;
  EXPECT_TRUE(send(build(packet)));
  for (const char* source : {"0.0.0.0", "224.0.0.5", "255.255.255.255"}) {
    TestPacket bad = packet;
    bad.source = ip(source);
    EXPECT_FALSE(send(build(bad))) << source;
  }
  for (const char* destination : {"224.0.0.5", "255.255.255.255"}) {
    TestPacket bad = packet;
    bad.destination = ip(destination);
    EXPECT_FALSE(send(build(bad))) << destination;
  }
  TestPacket icmp = packet;
  icmp.protocol = Protocol::kIcmp;
  Frame message(16);
  message[0] = std::byte{8};
  EXPECT_TRUE(send(build(icmp, message))) << "a ping is no error";
  for (const unsigned type : {3U, 4U, 5U, 11U, 12U, 40U}) {
    message[0] = static_cast<std::byte>(type);
    EXPECT_FALSE(send(build(icmp, message))) << type;
  }
  Frame fragment = build(packet);
  net::store(std::span(fragment), 20, test::be16(0x0010));
  net::store(std::span(fragment), 24, net::Be16());
  net::store(std::span(fragment), 24, net::internet_checksum(std::span(fragment).subspan(14, 20)));
  EXPECT_FALSE(send(fragment));
  EXPECT_TRUE(outputs.frames().empty());
  TestPacket v6 = packet;
  v6.source = ip("::");
  v6.destination = ip("2001:db8:1::10");
  EXPECT_FALSE(send(build(v6)));
  v6.source = ip("2001:db8:c::7");
  v6.destination = ip("ff02::1");
  EXPECT_FALSE(send(build(v6)));
}

TEST_F(IcmpErrorTest, FullOutputsAreSeen) {
  const Frame frame = build(TestPacket{});
  const auto headers = net::parse_frame(frame).value();
  for (std::size_t i = 0; i < Outputs::kMaxFrames; ++i) {
    EXPECT_TRUE(send_icmp_error(frame, headers, IcmpError::time_exceeded(net::Family::kIpv4), {},
                                network, outputs));
  }
  EXPECT_FALSE(send_icmp_error(frame, headers, IcmpError::time_exceeded(net::Family::kIpv4), {},
                               network, outputs));
}

// Related errors, cut off at every byte of their quote, lie at the end of an allocation.
TEST(IcmpRelated, TranslatesEveryLengthOfQuoteWithinItsBytes) {
  for (const bool v4 : {true, false}) {
    TestPacket quoted;
    TestPacket outer;
    net::Endpoint to{ip("10.0.0.9"), net::Port::from_host(8080)};
    if (!v4) {
      quoted.source = ip("2001:db8:1::10");
      quoted.destination = ip("2001:db8:c::7");
      to.address = ip("2001:db8:2::9");
      outer.source = ip("2001:db8:c::7");
      outer.destination = ip("2001:db8:1::10");
    }
    quoted.link_size = 14;
    const Frame inner = build(quoted);
    outer.protocol = v4 ? Protocol::kIcmp : Protocol::kIcmpv6;
    std::size_t translated = 0;
    for (std::size_t size = 0; size <= inner.size() - 14; ++size) {
      Frame message(8);
      message[0] = v4 ? std::byte{3} : std::byte{1};
      message.insert(message.end(), inner.begin() + 14,
                     inner.begin() + static_cast<std::ptrdiff_t>(14 + size));
      const Frame frame = build(outer, message);
      const auto exact = std::make_unique<std::byte[]>(frame.size());
      std::copy(frame.begin(), frame.end(), exact.get());
      const std::span<std::byte> bytes(exact.get(), frame.size());
      auto headers = net::parse_frame(bytes).value();
      ASSERT_TRUE(is_related_icmp(headers));
      const auto embedded = net::parse_embedded(bytes.first(headers.end), embedded_offset(headers));
      if (!embedded) continue;
      const bool done = translate_icmp_to_server(bytes, headers, *embedded, to);
      EXPECT_EQ(done, embedded->has_ports);
      if (!done) continue;
      ++translated;
      const auto again = net::parse_frame(bytes);
      ASSERT_TRUE(again);
      EXPECT_TRUE(icmp_checksum_holds(bytes, *again));
      EXPECT_EQ(again->destination, to.address);
      const auto quote = net::parse_embedded(bytes, embedded_offset(*again));
      EXPECT_EQ(quote->source, to.address);
      EXPECT_EQ(quote->source_port, to.port);
      EXPECT_EQ(quote->destination, quoted.destination);
    }
    EXPECT_EQ(translated, 17U);  // 4 to 20 bytes of TCP
  }
}

TEST(IcmpRelated, WhichTypes) {
  for (unsigned type = 0; type < 256; ++type) {
    net::Headers headers;
    headers.has_transport_header = true;
    headers.icmp_type = static_cast<std::uint8_t>(type);
    headers.protocol = Protocol::kIcmp;
    EXPECT_EQ(is_related_icmp(headers), type == 3 || type == 4 || type == 11);
    headers.protocol = Protocol::kIcmpv6;
    EXPECT_EQ(is_related_icmp(headers), type < 128);
    headers.protocol = Protocol::kTcp;
    EXPECT_FALSE(is_related_icmp(headers));
  }
}

}  // namespace
}  // namespace lb::engine
