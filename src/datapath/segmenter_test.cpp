// SPDX-License-Identifier: Apache-2.0
#include "datapath/segmenter.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::datapath {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kTcpOptions = 12;
constexpr std::uint32_t kSequence = 0xfffffff0;  // wraps within the frame
constexpr std::uint16_t kId = 0xffff;
constexpr std::uint8_t kCwr = 0x80;

net::IpAddress client(net::Family family) {
  return net::IpAddress::from_text(family == net::Family::kIpv4 ? "198.51.100.7" : "2001:db8:1::7")
      .value();
}
net::IpAddress server(net::Family family) {
  return net::IpAddress::from_text(family == net::Family::kIpv4 ? "192.0.2.10" : "2001:db8::10")
      .value();
}

/// A TCP frame whose checksum is left out, as a sender with TSO leaves it.
Bytes large_frame(net::Family family, std::size_t payload, std::uint8_t flags,
                  net::Protocol protocol = net::Protocol::kTcp) {
  const bool is_v4 = family == net::Family::kIpv4;
  const std::size_t ip_size = is_v4 ? 20 : 40;
  const std::size_t size = 20 + kTcpOptions + payload;
  Bytes frame(14 + ip_size + size);
  const std::span<std::byte> all(frame);
  net::store(all, 12, net::Be16::from_host(is_v4 ? 0x0800 : 0x86dd));
  const auto ip = all.subspan(14);
  const auto source = client(family).bytes();
  const auto destination = server(family).bytes();
  if (is_v4) {
    net::store(ip, 0, std::uint8_t{0x45});
    net::store(ip, 2, net::Be16::from_host(static_cast<std::uint16_t>(ip.size())));
    net::store(ip, 4, net::Be16::from_host(kId));
    net::store(ip, 8, std::uint8_t{64});
    net::store(ip, 9, static_cast<std::uint8_t>(protocol));
    std::copy_n(std::as_bytes(std::span(source)).begin(), 4, ip.begin() + 12);
    std::copy_n(std::as_bytes(std::span(destination)).begin(), 4, ip.begin() + 16);
    net::store(ip, 10, net::internet_checksum(ip.first(20)));
  } else {
    net::store(ip, 0, std::uint8_t{0x60});
    net::store(ip, 4, net::Be16::from_host(static_cast<std::uint16_t>(size)));
    net::store(ip, 6, static_cast<std::uint8_t>(protocol));
    net::store(ip, 7, std::uint8_t{64});
    net::store(ip, 8, source);
    net::store(ip, 24, destination);
  }
  const auto tcp = ip.subspan(ip_size);
  net::store(tcp, 0, net::Be16::from_host(40000));
  net::store(tcp, 2, net::Be16::from_host(80));
  net::store(tcp, 4, net::Be32::from_host(kSequence));
  net::store(tcp, 12, static_cast<std::uint8_t>((20 + kTcpOptions) / 4 << 4));
  net::store(tcp, 13, flags);
  for (std::size_t i = 0; i < payload; ++i) {
    tcp[20 + kTcpOptions + i] = static_cast<std::byte>(i * 7 + (i >> 8));
  }
  return frame;
}

std::vector<Bytes> cut(const Bytes& frame, std::size_t mtu, const SegmentSizes& sizes = {}) {
  std::vector<Bytes> result;
  auto segmenter = Segmenter::create(frame, mtu, sizes);
  if (!segmenter) return result;
  for (;;) {
    Bytes room(4096);
    const auto size = segmenter->next(room);
    if (size == 0) return result;
    room.resize(size);
    result.push_back(std::move(room));
  }
}

class SegmenterTest : public ::testing::TestWithParam<net::Family> {};

INSTANTIATE_TEST_SUITE_P(Families, SegmenterTest,
                         ::testing::Values(net::Family::kIpv4, net::Family::kIpv6));

/// What a receiver sees: whole checksums, and the bytes in their places.
TEST_P(SegmenterTest, SegmentsMakeUpTheFrame) {
  constexpr std::uint8_t kFlags = net::kTcpAck | net::kTcpPsh | net::kTcpFin | kCwr;
  for (const std::size_t payload : {std::size_t{1449}, std::size_t{2896}, std::size_t{60000}}) {
    const auto frame = large_frame(GetParam(), payload, kFlags);
    const auto pieces = cut(frame, 1500);
    ASSERT_GE(pieces.size(), 2U);
    Bytes joined;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const auto& piece = pieces[i];
      // Parsing checks lengths and the IPv4 header's checksum.
      const auto headers = net::parse_frame(piece);
      ASSERT_TRUE(headers);
      EXPECT_LE(headers->ip_size(), 1500U);
      EXPECT_EQ(headers->end, piece.size());
      const auto tcp = std::span(piece).subspan(headers->transport_offset);
      EXPECT_EQ(
          net::transport_checksum(headers->source, headers->destination, headers->protocol, tcp),
          net::Be16());
      EXPECT_EQ(net::Be32::from_network(net::load<std::uint32_t>(tcp, 4)).to_host(),
                kSequence + static_cast<std::uint32_t>(joined.size()));
      const bool is_last = i + 1 == pieces.size();
      EXPECT_EQ(headers->tcp_flags & (net::kTcpFin | net::kTcpPsh),
                is_last ? net::kTcpFin | net::kTcpPsh : 0);
      EXPECT_EQ(net::load<std::uint8_t>(tcp, 13) & kCwr, i == 0 ? kCwr : 0);
      EXPECT_NE(headers->tcp_flags & net::kTcpAck, 0);
      if (GetParam() == net::Family::kIpv4) {
        EXPECT_EQ(net::Be16::from_network(net::load<std::uint16_t>(piece, 18)).to_host(),
                  static_cast<std::uint16_t>(kId + i));
      }
      joined.insert(joined.end(), tcp.begin() + 20 + kTcpOptions, tcp.end());
    }
    EXPECT_EQ(joined, Bytes(frame.end() - static_cast<std::ptrdiff_t>(payload), frame.end()));
  }
}

TEST_P(SegmenterTest, WhatIsNotCut) {
  const std::size_t headers = (GetParam() == net::Family::kIpv4 ? 20 : 40) + 20 + kTcpOptions;
  EXPECT_TRUE(cut(large_frame(GetParam(), 1500 - headers, 0), 1500).empty()) << "it fits";
  EXPECT_EQ(cut(large_frame(GetParam(), 1501 - headers, 0), 1500).size(), 2U);
  EXPECT_TRUE(cut(large_frame(GetParam(), 3000, 0, net::Protocol::kUdp), 1500).empty());
  EXPECT_TRUE(cut(large_frame(GetParam(), 3000, 0), headers).empty()) << "no room for data";
  auto bad = large_frame(GetParam(), 3000, 0);
  bad[14 + headers - kTcpOptions - 20 + 12] = std::byte{0x40};  // data offset of 16 bytes
  EXPECT_TRUE(cut(bad, 1500).empty());
  // Cut off anywhere: nothing, and no read beyond the end.
  const auto whole = large_frame(GetParam(), 3000, 0);
  for (std::size_t size = 0; size < 120; ++size) {
    EXPECT_TRUE(
        cut(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), 68).empty());
  }
}

Bytes too_big(net::Family family, std::uint32_t mtu) {
  const bool is_v4 = family == net::Family::kIpv4;
  auto frame = large_frame(family, 0, 0, is_v4 ? net::Protocol::kIcmp : net::Protocol::kIcmpv6);
  const auto icmp = std::span(frame).subspan(is_v4 ? 34 : 54);
  net::store(icmp, 0, static_cast<std::uint8_t>(is_v4 ? 3 : 2));
  net::store(icmp, 1, static_cast<std::uint8_t>(is_v4 ? 4 : 0));
  net::store(icmp, 4, net::Be32::from_host(mtu));
  return frame;
}

TEST_P(SegmenterTest, SizesAreLearntFromErrors) {
  SegmentSizes sizes;
  const auto to = server(GetParam());
  EXPECT_EQ(sizes.size_for(to, 1500), 1500U);
  sizes.learn(to, too_big(GetParam(), 1480));
  EXPECT_EQ(sizes.size_for(to, 1500), 1480U);
  EXPECT_EQ(sizes.size_for(to, 1400), 1400U) << "never above the MTU";
  EXPECT_EQ(sizes.size_for(client(GetParam()), 1500), 1500U);
  for (const auto& piece : cut(large_frame(GetParam(), 5000, 0), 1500, sizes)) {
    EXPECT_LE(piece.size(), 1480U + 14U);
  }
  // Nonsense and other packets change nothing.
  sizes.learn(to, too_big(GetParam(), 0));
  sizes.learn(to, too_big(GetParam(), 67));
  sizes.learn(to, large_frame(GetParam(), 100, 0));
  sizes.learn(to, {});
  EXPECT_EQ(sizes.size_for(to, 1500), 1480U);
}

}  // namespace
}  // namespace lb::datapath
