// SPDX-License-Identifier: Apache-2.0
#include "datapath/partial_checksum.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "net/byte_order.hpp"
#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::datapath {
namespace {

constexpr std::size_t kIp = 14;
constexpr std::size_t kUdp = 34;
constexpr std::size_t kField = kUdp + 6;

/// A UDP packet from 198.51.100.7:40000 to 192.0.2.10:53 with four bytes and no checksum yet.
std::vector<std::byte> udp_frame() {
  const std::vector<unsigned> values = {2, 0,  0,    0,  0,   1,  2,    0,    0,   0,  0,    2,
                                        8, 0,  0x45, 0,  0,   32, 0,    1,    0,   0,  64,   17,
                                        0, 0,  198,  51, 100, 7,  192,  0,    2,   10, 0x9c, 0x40,
                                        0, 53, 0,    12, 0,   0,  0xde, 0xad, 190, 239};
  std::vector<std::byte> frame;
  for (const auto value : values) frame.push_back(static_cast<std::byte>(value));
  const auto sum = net::internet_checksum(std::span(frame).subspan(kIp, 20));
  net::store(std::span(frame), kIp + 10, sum.to_network());
  return frame;
}

net::Be16 pseudo_sum() {
  net::InternetSum sum;
  sum.add_pseudo_header(*net::IpAddress::from_text("198.51.100.7"),
                        *net::IpAddress::from_text("192.0.2.10"), net::Protocol::kUdp, 12);
  return sum.sum();
}

TEST(PartialChecksum, IsFoundByItsValue) {
  auto frame = udp_frame();
  net::store(std::span(frame), kField, pseudo_sum().to_network());
  const auto found = find_partial_checksum(frame);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->start, kUdp);
  EXPECT_EQ(found->offset, 6);
}

TEST(PartialChecksum, AFullOneAndNoneAreLeftAlone) {
  auto frame = udp_frame();
  EXPECT_FALSE(find_partial_checksum(frame)) << "zero: not computed";
  const auto full = net::transport_checksum(*net::IpAddress::from_text("198.51.100.7"),
                                            *net::IpAddress::from_text("192.0.2.10"),
                                            net::Protocol::kUdp, std::span(frame).subspan(kUdp));
  net::store(std::span(frame), kField, full.to_network());
  EXPECT_FALSE(find_partial_checksum(frame));
}

TEST(PartialChecksum, CutFramesHaveNone) {
  auto frame = udp_frame();
  net::store(std::span(frame), kField, pseudo_sum().to_network());
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_FALSE(find_partial_checksum(std::span(frame).first(size)));
  }
}

}  // namespace
}  // namespace lb::datapath
