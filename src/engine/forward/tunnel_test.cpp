// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/tunnel.hpp"

#include <gtest/gtest.h>

#include "engine/forward/test_packet.hpp"

namespace lb::engine {
namespace {

using model::TunnelType;
using net::IpAddress;
using net::Protocol;
using test::Frame;
using test::TestPacket;

struct Buffer {
  explicit Buffer(const Frame& frame, std::size_t headroom)
      : bytes(headroom + frame.size()), packet(bytes, headroom, frame.size()) {
    std::copy(frame.begin(), frame.end(), bytes.begin() + static_cast<std::ptrdiff_t>(headroom));
  }
  std::vector<std::byte> bytes;
  net::Packet packet;
};

Tunnel tunnel_of(TunnelType type, std::uint16_t flags, bool v4) {
  Tunnel tunnel;
  tunnel.spec = {type, net::Port::from_host(6080), flags};
  tunnel.source = IpAddress::from_text(v4 ? "10.0.0.1" : "2001:db8:2::1").value();
  tunnel.destination = IpAddress::from_text(v4 ? "10.0.0.9" : "2001:db8:2::9").value();
  tunnel.identification = test::be16(77);
  return tunnel;
}

std::vector<Tunnel> every_tunnel() {
  std::vector<Tunnel> all;
  for (const bool v4 : {true, false}) {
    for (const auto type : {TunnelType::kIpip, TunnelType::kGre, TunnelType::kGue}) {
      for (const auto flags :
           {model::kTunnelNoChecksum, model::kTunnelChecksum, model::kTunnelRemoteChecksum}) {
        all.push_back(tunnel_of(type, flags, v4));
      }
    }
  }
  return all;
}

std::vector<TestPacket> inner_packets() {
  TestPacket v4;
  v4.payload = test::pattern(31);
  TestPacket v6 = v4;
  v6.source = *IpAddress::from_text("2001:db8:c::7");
  v6.destination = *IpAddress::from_text("2001:db8:1::10");
  TestPacket tagged = v4;
  tagged.link_size = 18;
  return {v4, v6, tagged};
}

TEST(Tunnel, CarriesTheWholePacketUnchanged) {
  for (const auto& inner : inner_packets()) {
    for (const auto& tunnel : every_tunnel()) {
      Frame frame = build(inner);
      const Frame ip(frame.begin() + static_cast<std::ptrdiff_t>(inner.link_size), frame.end());
      frame.resize(frame.size() + 6);  // padding must not travel along
      Buffer buffer(frame, kMaxTunnelOverhead);
      auto headers = net::parse_frame(frame).value();
      ASSERT_TRUE(encapsulate(buffer.packet, headers, tunnel));

      const auto bytes = std::as_const(buffer.packet).bytes();
      const std::size_t overhead = tunnel_overhead(tunnel.spec, tunnel.destination.family());
      ASSERT_EQ(bytes.size(), inner.link_size + overhead + ip.size());
      EXPECT_TRUE(
          std::equal(ip.begin(), ip.end(), bytes.end() - static_cast<std::ptrdiff_t>(ip.size())));
      const auto outer = net::parse_ip(bytes, inner.link_size);
      ASSERT_TRUE(outer);
      EXPECT_EQ(outer->source, tunnel.source);
      EXPECT_EQ(outer->destination, tunnel.destination);
      EXPECT_EQ(outer->ttl, inner.ttl);
      EXPECT_EQ(outer->protocol, headers.protocol);
      EXPECT_EQ(outer->end, headers.end);
      EXPECT_EQ(outer->transport_offset, headers.transport_offset);
      EXPECT_EQ(outer->dont_fragment, headers.dont_fragment);
      EXPECT_EQ(outer->next_header_offset, headers.next_header_offset);
      const auto rest = bytes.subspan(outer->transport_offset);
      const bool checked = tunnel.spec.flags != 0;
      if (tunnel.spec.type == TunnelType::kGue) {
        EXPECT_EQ(net::load<net::Be16>(rest, 6) != net::Be16(), checked);
        if (checked) {
          EXPECT_EQ(
              net::transport_checksum(outer->source, outer->destination, Protocol::kUdp, rest),
              net::Be16());
        }
        EXPECT_GE(outer->source_port.to_host(), 32768);
      }
      if (tunnel.spec.type == TunnelType::kGre && tunnel.spec.flags == model::kTunnelChecksum) {
        EXPECT_EQ(net::internet_checksum(rest), net::Be16());
      }
    }
  }
}

TEST(Tunnel, DontFragmentAndIdentification) {
  for (const bool asks : {false, true}) {
    for (const bool copies : {false, true}) {
      TestPacket inner;
      inner.dont_fragment = asks;
      const Frame frame = build(inner);
      Buffer buffer(frame, 64);
      auto headers = net::parse_frame(frame).value();
      auto tunnel = tunnel_of(TunnelType::kIpip, 0, true);
      tunnel.copy_dont_fragment = copies;
      ASSERT_TRUE(encapsulate(buffer.packet, headers, tunnel));
      EXPECT_EQ(headers.dont_fragment, asks && copies);
      EXPECT_EQ(net::load<net::Be16>(buffer.packet.bytes(), 18).to_host(), asks && copies ? 0 : 77);
    }
  }
}

TEST(Tunnel, CongestionExperiencedStaysInside) {
  const std::array<std::uint8_t, 4> wanted{0xb8, 0xb9, 0xba, 0xba};
  for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
    TestPacket inner;
    inner.tos = static_cast<std::uint8_t>(0xb8 | ecn);
    const Frame frame = build(inner);
    Buffer buffer(frame, 64);
    auto headers = net::parse_frame(frame).value();
    ASSERT_TRUE(encapsulate(buffer.packet, headers, tunnel_of(TunnelType::kIpip, 0, true)));
    EXPECT_EQ(headers.tos, wanted[ecn]);
  }
}

TEST(Tunnel, OnePortPerFlow) {
  std::vector<std::uint16_t> ports;
  for (std::uint16_t client = 0; client < 200; ++client) {
    for (int packet = 0; packet < 2; ++packet) {
      TestPacket inner;
      inner.source_port = static_cast<std::uint16_t>(40000 + client);
      inner.payload = test::pattern(static_cast<std::size_t>(packet) * 10);
      const Frame frame = build(inner);
      Buffer buffer(frame, 64);
      auto headers = net::parse_frame(frame).value();
      ASSERT_TRUE(encapsulate(buffer.packet, headers, tunnel_of(TunnelType::kGue, 0, true)));
      if (packet == 1) {
        EXPECT_EQ(ports.back(), headers.source_port.to_host());
      }
      ports.push_back(headers.source_port.to_host());
    }
  }
  std::sort(ports.begin(), ports.end());
  const auto distinct = std::unique(ports.begin(), ports.end()) - ports.begin();
  EXPECT_GT(distinct, 190);
}

TEST(Tunnel, RefusesWithoutRoomAndLeavesThePacket) {
  for (const auto& tunnel : every_tunnel()) {
    const Frame frame = build(TestPacket{});
    Buffer buffer(frame, tunnel_overhead(tunnel.spec, tunnel.destination.family()) - 1);
    auto headers = net::parse_frame(frame).value();
    EXPECT_FALSE(encapsulate(buffer.packet, headers, tunnel));
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(), buffer.packet.bytes().begin()));
    EXPECT_EQ(headers.protocol, Protocol::kTcp);
  }
  TestPacket large;
  large.payload = test::pattern(65535 - 40);
  const Frame frame = build(large);
  Buffer buffer(frame, 64);
  auto headers = net::parse_frame(frame).value();
  EXPECT_FALSE(encapsulate(buffer.packet, headers, tunnel_of(TunnelType::kIpip, 0, true)));
}

}  // namespace
}  // namespace lb::engine
