// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/masquerade.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <memory>

#include "engine/forward/test_packet.hpp"
#include "engine/forward/ttl.hpp"

namespace lb::engine {
namespace {

using net::IpAddress;
using net::Protocol;
using test::be16;
using test::build;
using test::Frame;
using test::TestPacket;

net::Endpoint end(const char* address, std::uint16_t port) {
  return {IpAddress::from_text(address).value(), net::Port::from_host(port)};
}

std::size_t checksum_at(const net::Headers& headers) {
  return headers.transport_offset + (headers.protocol == Protocol::kTcp ? std::size_t{16} : 6);
}

IpAddress address_of(bool v4, const std::array<std::uint8_t, 16>& bytes) {
  if (!v4) return IpAddress::v6(bytes);
  return IpAddress::v4(net::load<net::Be32>(std::as_bytes(std::span(bytes))));
}

// The oracle: the translated packet must be the one that a sender would have built with these
// addresses and ports, checksums in full.
RC_GTEST_PROP(Masquerade, EqualsThePacketBuiltAnew, ()) {
  TestPacket packet;
  const bool v4 = *rc::gen::arbitrary<bool>();
  packet.source = address_of(v4, *rc::gen::arbitrary<std::array<std::uint8_t, 16>>());
  packet.destination = address_of(v4, *rc::gen::arbitrary<std::array<std::uint8_t, 16>>());
  packet.protocol = *rc::gen::element(Protocol::kTcp, Protocol::kUdp, Protocol::kSctp);
  packet.source_port = *rc::gen::arbitrary<std::uint16_t>();
  packet.destination_port = *rc::gen::arbitrary<std::uint16_t>();
  packet.ttl = *rc::gen::inRange<std::uint8_t>(2, 255);
  packet.tos = *rc::gen::arbitrary<std::uint8_t>();
  packet.payload = test::pattern(*rc::gen::inRange<std::size_t>(0, 200));
  packet.link_size = *rc::gen::element<std::size_t>(14, 18);
  Frame frame = build(packet);
  auto headers = net::parse_frame(frame).value();

  const net::Endpoint to{address_of(v4, *rc::gen::arbitrary<std::array<std::uint8_t, 16>>()),
                         net::Port::from_host(*rc::gen::arbitrary<std::uint16_t>())};
  TestPacket wanted = packet;
  --wanted.ttl;
  RC_ASSERT(decrement_ttl(frame, headers));
  if (*rc::gen::arbitrary<bool>()) {
    wanted.destination = to.address;
    wanted.destination_port = to.port.to_host();
    RC_ASSERT(rewrite_destination(frame, headers, to));
  } else {
    wanted.source = to.address;
    wanted.source_port = to.port.to_host();
    RC_ASSERT(rewrite_source(frame, headers, to));
  }
  RC_ASSERT(frame == build(wanted));
  const auto again = net::parse_frame(frame).value();
  RC_ASSERT(again.source == headers.source);
  RC_ASSERT(again.destination == headers.destination);
  RC_ASSERT(again.source_port == headers.source_port);
  RC_ASSERT(again.destination_port == headers.destination_port);
  RC_ASSERT(again.ttl == headers.ttl);
}

TEST(Masquerade, UnfinishedChecksumsAreComputed) {
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    for (const bool rewrites : {false, true}) {
      TestPacket packet;
      packet.protocol = protocol;
      packet.payload = test::pattern(33);
      Frame frame = build(packet);
      auto headers = net::parse_frame(frame).value();
      if (protocol == Protocol::kSctp) {
        net::store(std::span(frame), headers.transport_offset + std::size_t{8}, net::Be32());
      } else {
        net::InternetSum sum;
        sum.add_pseudo_header(headers.source, headers.destination, protocol,
                              headers.end - headers.transport_offset);
        net::store(std::span(frame), checksum_at(headers), sum.sum());
      }
      if (rewrites) {
        packet.destination = *IpAddress::from_text("10.0.0.2");
        packet.destination_port = 8080;
        ASSERT_TRUE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
      } else {
        EXPECT_TRUE(complete_checksum(frame, headers));
        EXPECT_FALSE(complete_checksum(frame, headers));
      }
      EXPECT_EQ(frame, build(packet));
    }
  }
}

TEST(Masquerade, WrongChecksumsStayWrongByTheSame) {
  TestPacket packet;
  Frame frame = build(packet);
  auto headers = net::parse_frame(frame).value();
  const auto right = net::load<net::Be16>(frame, checksum_at(headers)).to_host();
  net::store(std::span(frame), checksum_at(headers), be16(right + 0x0101U));
  ASSERT_TRUE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
  packet.destination = *IpAddress::from_text("10.0.0.2");
  packet.destination_port = 8080;
  const Frame wanted = build(packet);
  const auto expected = net::load<net::Be16>(wanted, checksum_at(headers)).to_host() + 0x0101U;
  EXPECT_EQ(net::load<net::Be16>(frame, checksum_at(headers)), be16(expected % 0xffff));
}

TEST(Masquerade, UdpWithoutChecksumGetsOne) {
  TestPacket packet;
  packet.protocol = Protocol::kUdp;
  packet.payload = test::pattern(5);
  Frame frame = build(packet);
  auto headers = net::parse_frame(frame).value();
  net::store(std::span(frame), checksum_at(headers), net::Be16());
  EXPECT_FALSE(complete_checksum(frame, headers)) << "nothing to finish for direct routing";
  ASSERT_TRUE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
  packet.destination = *IpAddress::from_text("10.0.0.2");
  packet.destination_port = 8080;
  EXPECT_EQ(frame, build(packet));
}

TEST(Masquerade, LaterFragmentsChangeTheirAddressOnly) {
  TestPacket packet;
  packet.protocol = Protocol::kUdp;
  Frame frame = build(packet, test::pattern(24));
  net::store(std::span(frame), 20, be16(0x0010));
  net::store(std::span(frame), 24, net::Be16());
  net::store(std::span(frame), 24, net::internet_checksum(std::span(frame).subspan(14, 20)));
  auto headers = net::parse_frame(frame).value();
  ASSERT_TRUE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
  EXPECT_EQ(Frame(frame.begin() + 34, frame.end()), test::pattern(24));
  EXPECT_EQ(net::parse_frame(frame)->destination.to_text(), "10.0.0.2");
}

TEST(Masquerade, ProtocolsWithoutPorts) {
  TestPacket packet;
  packet.protocol = Protocol::kEsp;
  Frame frame = build(packet, test::pattern(24));
  auto headers = net::parse_frame(frame).value();
  ASSERT_TRUE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
  packet.destination = *IpAddress::from_text("10.0.0.2");
  EXPECT_EQ(frame, build(packet, test::pattern(24)));
}

TEST(Masquerade, CutOffHeadersAndOtherFamiliesAreRefusedUntouched) {
  TestPacket packet;
  Frame segment = test::segment_of(packet);
  segment.resize(19);
  Frame frame = build(packet, segment);
  const Frame before = frame;
  auto headers = net::parse_frame(frame).value();
  EXPECT_FALSE(rewrite_destination(frame, headers, end("10.0.0.2", 8080)));
  EXPECT_FALSE(rewrite_source(frame, headers, end("10.0.0.2", 8080)));
  EXPECT_FALSE(complete_checksum(frame, headers));
  EXPECT_EQ(frame, before);
  Frame whole = build(packet);
  headers = net::parse_frame(whole).value();
  EXPECT_FALSE(rewrite_destination(whole, headers, end("2001:db8::2", 8080)));
}

// Each prefix that still parses (its IP length corrected) is translated without leaving its bytes.
TEST(Masquerade, EveryLengthOfSegment) {
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    for (std::size_t size = 0; size < 40; ++size) {
      TestPacket packet;
      packet.protocol = protocol;
      packet.payload = test::pattern(40);
      Frame segment = test::segment_of(packet);
      segment.resize(size);
      const Frame frame = build(packet, segment);
      const auto exact = std::make_unique<std::byte[]>(frame.size());
      std::copy(frame.begin(), frame.end(), exact.get());
      const std::span<std::byte> bytes(exact.get(), frame.size());
      auto headers = net::parse_frame(bytes).value();
      const bool whole = headers.has_transport_header || !headers.has_ports;
      EXPECT_EQ(rewrite_destination(bytes, headers, end("10.0.0.2", 8080)), whole);
    }
  }
}

TEST(Ttl, IsNotTakenBelowOne) {
  for (const std::uint8_t ttl : {std::uint8_t{0}, std::uint8_t{1}}) {
    TestPacket packet;
    packet.ttl = ttl;
    Frame frame = build(packet);
    auto headers = net::parse_frame(frame).value();
    EXPECT_FALSE(decrement_ttl(frame, headers));
    EXPECT_EQ(frame, build(packet));
  }
}

TEST(Ttl, RecordRouteTakesTheAddressWhileThereIsRoom) {
  TestPacket packet;
  Frame frame = build(packet);
  // Seven bytes of record route with room for one address, then the end of options.
  const Frame option{std::byte{7}, std::byte{7}, std::byte{4}, {}, {}, {}, {}, std::byte{0}};
  frame.insert(frame.begin() + 34, option.begin(), option.end());
  frame[14] = std::byte{0x47};
  net::store(std::span(frame), 16, be16(48));
  net::store(std::span(frame), 24, net::Be16());
  net::store(std::span(frame), 24, net::internet_checksum(std::span(frame).subspan(14, 28)));
  for (int round = 0; round < 2; ++round) {  // the second time it is full
    const auto headers = net::parse_frame(frame);
    ASSERT_TRUE(headers);
    record_ipv4_options(frame, *headers, headers->destination);
    EXPECT_EQ(net::load<net::Be32>(frame, 37), headers->destination.word(0));
    EXPECT_EQ(frame[36], std::byte{8});
    EXPECT_EQ(frame[41], std::byte{0});
  }
}

}  // namespace
}  // namespace lb::engine
