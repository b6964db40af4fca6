// SPDX-License-Identifier: Apache-2.0
#include "net/parse.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::net {
namespace {

using Frame = std::vector<std::byte>;

void put(Frame& frame, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) frame.push_back(static_cast<std::byte>(byte));
}

void put(Frame& frame, const IpAddress& address) {
  for (std::size_t i = 0; i < address.size(); ++i) {
    frame.push_back(static_cast<std::byte>(address.bytes()[i]));
  }
}

Frame ethernet(unsigned type, int vlan_tags = 0) {
  Frame frame(12, std::byte{2});
  for (int i = 0; i < vlan_tags; ++i)
    put(frame,
        {i == 0 && vlan_tags > 1 ? 0x88U : 0x81U, i == 0 && vlan_tags > 1 ? 0xa8U : 0U, 0, 7});
  put(frame, {type >> 8U, type & 0xffU});
  return frame;
}

/// An IPv4 packet with `options` behind the header, from 198.51.100.7 to 192.0.2.10.
Frame ipv4(Frame frame, unsigned protocol, const Frame& payload, unsigned fragment = 0x4000,
           const Frame& options = {}) {
  const std::size_t at = frame.size();
  const auto header = static_cast<unsigned>(20 + options.size());
  const auto total = static_cast<unsigned>(header + payload.size());
  put(frame, {0x40U + header / 4,
              0x12,
              total >> 8U,
              total & 0xffU,
              0,
              1,
              fragment >> 8U,
              fragment & 0xffU,
              61,
              protocol,
              0,
              0,
              198,
              51,
              100,
              7,
              192,
              0,
              2,
              10});
  frame.insert(frame.end(), options.begin(), options.end());
  store(frame, at + 10, internet_checksum(std::span(frame).subspan(at)));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

Frame ipv6(Frame frame, unsigned next_header, const Frame& payload) {
  const auto size = static_cast<unsigned>(payload.size());
  put(frame, {0x6a, 0xb0, 0, 5, size >> 8U, size & 0xffU, next_header, 61});
  put(frame, *IpAddress::from_text("2001:db8::7"));
  put(frame, *IpAddress::from_text("2001:db8:1::10"));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

Frame tcp() {
  Frame bytes;
  put(bytes,
      {0x9c, 0x40, 0, 80, 0, 0, 3, 232, 0, 0, 0, 0, 0x50, 0x12, 0xfa, 0xf0, 0xab, 0xcd, 0, 0});
  return bytes;
}

Frame operator+(Frame a, const Frame& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Frame bytes_of(std::initializer_list<unsigned> list) {
  Frame frame;
  put(frame, list);
  return frame;
}

void expect_tcp(const Headers& headers) {
  EXPECT_EQ(headers.protocol, Protocol::kTcp);
  EXPECT_TRUE(headers.has_ports);
  EXPECT_TRUE(headers.has_transport_header);
  EXPECT_EQ(headers.source_port.to_host(), 40000);
  EXPECT_EQ(headers.destination_port.to_host(), 80);
  EXPECT_EQ(headers.tcp_flags, kTcpSyn | kTcpAck);
  EXPECT_EQ(headers.ttl, 61);
}

TEST(Parse, Ipv4TcpWithPaddingBehind) {
  auto frame = ipv4(ethernet(0x0800), 6, tcp());
  frame.resize(60);
  const auto headers = parse_frame(frame);
  ASSERT_TRUE(headers);
  expect_tcp(*headers);
  EXPECT_EQ(headers->source.to_text(), "198.51.100.7");
  EXPECT_EQ(headers->destination.to_text(), "192.0.2.10");
  EXPECT_EQ(headers->ip_offset, 14);
  EXPECT_EQ(headers->transport_offset, 34);
  EXPECT_EQ(headers->end, 54U);
  EXPECT_EQ(headers->tos, 0x12);
  EXPECT_TRUE(headers->dont_fragment);
  EXPECT_FALSE(headers->is_fragment());
  EXPECT_EQ(headers->next_header_offset, 23);
}

TEST(Parse, VlanTagsAreSteppedOver) {
  for (int tags = 0; tags <= 2; ++tags) {
    const auto headers = parse_frame(ipv4(ethernet(0x0800, tags), 6, tcp()));
    ASSERT_TRUE(headers) << tags;
    expect_tcp(*headers);
    EXPECT_EQ(headers->ip_offset, 14 + 4 * tags);
  }
  EXPECT_EQ(parse_frame(ipv4(ethernet(0x0800, 3), 6, tcp())).error(), ParseError::kNotIp);
  EXPECT_EQ(parse_frame(ethernet(0x0806) + tcp()).error(), ParseError::kNotIp);
}

TEST(Parse, Ipv4Options) {
  const auto headers =
      parse_frame(ipv4(ethernet(0x0800), 6, tcp(), 0x4000, bytes_of({0x94, 4, 0, 0})));
  ASSERT_TRUE(headers);
  expect_tcp(*headers);
  EXPECT_EQ(headers->transport_offset, 38);
}

TEST(Parse, Ipv4HeaderFieldsThatLie) {
  const auto good = ipv4(ethernet(0x0800), 6, tcp());
  auto frame = good;
  frame[14] = std::byte{0x65};  // says IPv6
  EXPECT_EQ(parse_frame(frame).error(), ParseError::kBadHeader);
  frame = good;
  frame[14] = std::byte{0x44};  // 16 bytes of header
  EXPECT_EQ(parse_frame(frame).error(), ParseError::kBadHeader);
  frame = good;
  frame[17] = std::byte{19};  // shorter than its header
  EXPECT_EQ(parse_frame(frame).error(), ParseError::kBadHeader);
  frame = good;
  frame[17] = std::byte{41};  // longer than the frame
  EXPECT_EQ(parse_frame(frame).error(), ParseError::kTruncated);
  frame = good;
  frame[24] ^= std::byte{1};
  EXPECT_EQ(parse_frame(frame).error(), ParseError::kBadHeader);
}

TEST(Parse, Ipv4Fragments) {
  auto headers = parse_frame(ipv4(ethernet(0x0800), 6, tcp(), 0x2000));
  ASSERT_TRUE(headers);
  EXPECT_TRUE(headers->is_fragment());
  EXPECT_TRUE(headers->has_ports);
  headers = parse_frame(ipv4(ethernet(0x0800), 6, tcp(), 100));
  ASSERT_TRUE(headers);
  EXPECT_TRUE(headers->is_fragment());
  EXPECT_EQ(headers->fragment_offset, 800);
  EXPECT_FALSE(headers->has_ports);
  EXPECT_FALSE(headers->has_transport_header);
}

TEST(Parse, Ipv6ExtensionHeaders) {
  const auto hop = bytes_of({60, 0, 1, 4, 0, 0, 0, 0});
  const auto options = bytes_of({43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const auto routing = bytes_of({6, 0, 4, 0, 0, 0, 0, 0});
  const auto headers = parse_frame(ipv6(ethernet(0x86dd), 0, hop + options + routing + tcp()));
  ASSERT_TRUE(headers);
  expect_tcp(*headers);
  EXPECT_EQ(headers->tos, 0xab);
  EXPECT_EQ(headers->transport_offset, 14 + 40 + 32);
  EXPECT_EQ(headers->next_header_offset, 14 + 40 + 24);
  EXPECT_EQ(headers->fragment_header_offset, 0);
}

TEST(Parse, Ipv6Fragments) {
  const auto first = bytes_of({6, 0, 0, 1, 0, 0, 0, 9});
  auto headers = parse_frame(ipv6(ethernet(0x86dd), 44, first + tcp()));
  ASSERT_TRUE(headers);
  expect_tcp(*headers);
  EXPECT_TRUE(headers->more_fragments);
  EXPECT_EQ(headers->fragment_header_offset, 54);

  // What follows in a later fragment is data, whatever the header's number says.
  const auto later = bytes_of({0, 0, 0x01, 0x90, 0, 0, 0, 9});
  headers = parse_frame(ipv6(ethernet(0x86dd), 44, later + tcp()));
  ASSERT_TRUE(headers);
  EXPECT_EQ(headers->fragment_offset, 400);
  EXPECT_FALSE(headers->has_ports);
  EXPECT_EQ(headers->transport_offset, 62);
}

TEST(Parse, Ipv6ChainsAreBounded) {
  for (const std::size_t count : {16U, 17U}) {
    Frame chain;
    for (std::size_t i = 0; i < count; ++i) {
      chain = chain + bytes_of({i + 1 == count ? 6U : 60U, 0, 1, 4, 0, 0, 0, 0});
    }
    EXPECT_EQ(parse_frame(ipv6(ethernet(0x86dd), 60, chain + tcp())).has_value(), count == 16);
  }
  // A header that claims more than there is.
  EXPECT_EQ(
      parse_frame(ipv6(ethernet(0x86dd), 60, bytes_of({6, 9, 1, 4, 0, 0, 0, 0}) + tcp())).error(),
      ParseError::kTruncated);
}

TEST(Parse, AhIsATransportProtocol) {
  const auto headers = parse_frame(ipv6(ethernet(0x86dd), 51, bytes_of({6, 4}) + tcp()));
  ASSERT_TRUE(headers);
  EXPECT_EQ(headers->protocol, Protocol::kAh);
  EXPECT_FALSE(headers->has_ports);
}

TEST(Parse, EmbeddedPacketsMayBeCutOffAndHaveAnyChecksum) {
  auto packet = ipv4({}, 6, tcp());
  packet[10] ^= std::byte{0xff};
  packet.resize(28);
  const auto headers = parse_embedded(packet, 0);
  ASSERT_TRUE(headers);
  EXPECT_TRUE(headers->has_ports);
  EXPECT_FALSE(headers->has_transport_header);
  EXPECT_EQ(headers->end, 28U);
  EXPECT_FALSE(parse_ip(packet, 0));
  packet.resize(23);
  ASSERT_TRUE(parse_embedded(packet, 0));
  EXPECT_FALSE(parse_embedded(packet, 0)->has_ports);
  packet.resize(19);
  EXPECT_FALSE(parse_embedded(packet, 0));
}

/// All that the contract promises about offsets.
void expect_inside(const Headers& headers, std::size_t size) {
  EXPECT_LE(headers.end, size);
  EXPECT_LE(headers.transport_offset, headers.end);
  EXPECT_LT(headers.ip_offset, headers.transport_offset);
  EXPECT_LT(headers.next_header_offset, headers.transport_offset);
  const std::size_t left = headers.end - headers.transport_offset;
  if (headers.has_ports) {
    EXPECT_GE(left, 4U);
  }
  if (headers.has_transport_header) {
    EXPECT_GE(left, headers.protocol == Protocol::kTcp ? 20U : 8U);
  }
}

// The frames lie at the very end of an allocation, so that the sanitizer sees a read beyond.
TEST(Parse, CutOffAtEveryByte) {
  const auto hop = bytes_of({44, 0, 1, 4, 0, 0, 0, 0});
  const auto fragment = bytes_of({6, 0, 0, 1, 0, 0, 0, 9});
  for (const Frame& whole :
       {ipv4(ethernet(0x0800), 6, tcp()), ipv4(ethernet(0x0800, 2), 17, tcp()),
        ipv4(ethernet(0x0800), 1, tcp(), 0, bytes_of({7, 4, 4, 0})),
        ipv6(ethernet(0x86dd), 0, hop + fragment + tcp()), ipv6(ethernet(0x86dd, 1), 58, tcp())}) {
    EXPECT_TRUE(parse_frame(whole));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto exact = std::make_unique<std::byte[]>(size);
      std::copy_n(whole.begin(), size, exact.get());
      const std::span<const std::byte> cut(exact.get(), size);
      EXPECT_FALSE(parse_frame(cut)) << size;
      if (size > 14) {
        if (const auto headers = parse_embedded(cut, 14)) expect_inside(*headers, size);
      }
    }
  }
}

TEST(Parse, RandomBytesStayInside) {
  std::mt19937 random(4);
  const auto good4 = ipv4(ethernet(0x0800), 6, tcp() + tcp());
  const auto good6 = ipv6(ethernet(0x86dd), 0, bytes_of({60, 0, 1, 4, 0, 0, 0, 0}) + tcp() + tcp());
  std::size_t parsed = 0;
  for (int round = 0; round < 50000; ++round) {
    Frame frame = round % 2 == 0 ? good4 : good6;
    for (unsigned i = 0; i < 1 + random() % 4; ++i) {
      frame[14 + random() % (frame.size() - 14)] = static_cast<std::byte>(random());
    }
    if (round % 2 == 0 && (frame[14] & std::byte{0xf0}) == std::byte{0x40}) {
      const std::size_t header = std::clamp<std::size_t>(
          std::to_integer<std::size_t>(frame[14] & std::byte{0xf}) * 4, 20, frame.size() - 14);
      store(frame, 24, Be16());
      store(frame, 24, internet_checksum(std::span(frame).subspan(14, header)));
    }
    const auto exact = std::make_unique<std::byte[]>(frame.size());
    std::copy(frame.begin(), frame.end(), exact.get());
    const std::span<const std::byte> bytes(exact.get(), frame.size());
    if (const auto headers = parse_frame(bytes)) {
      expect_inside(*headers, bytes.size());
      ++parsed;
    }
    if (const auto headers = parse_embedded(bytes, 14)) expect_inside(*headers, bytes.size());
  }
  EXPECT_GT(parsed, 1000U);
}

}  // namespace
}  // namespace lb::net
