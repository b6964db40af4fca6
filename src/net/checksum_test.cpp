// SPDX-License-Identifier: Apache-2.0
#include "net/checksum.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace lb::net {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// RFC 1071 as its text says it: big-endian words, one after the other.
std::uint16_t slow_sum(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8U;
    if (i + 1 < bytes.size()) sum += std::to_integer<std::uint32_t>(bytes[i + 1]);
    while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  }
  return static_cast<std::uint16_t>(sum);
}

std::vector<std::byte> random_bytes(std::mt19937& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(InternetSum, ExampleOfRfc1071) {
  const std::array<std::byte, 8> bytes{std::byte{0x00}, std::byte{0x01}, std::byte{0xf2},
                                       std::byte{0x03}, std::byte{0xf4}, std::byte{0xf5},
                                       std::byte{0xf6}, std::byte{0xf7}};
  InternetSum sum;
  sum.add(bytes);
  EXPECT_EQ(sum.sum().to_host(), 0xddf2);
}

TEST(InternetSum, EqualsTheSlowSumForEveryLength) {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 300; ++size) {
    const auto bytes = random_bytes(random, size);
    InternetSum sum;
    sum.add(bytes);
    EXPECT_EQ(sum.sum().to_host(), slow_sum(bytes)) << size;
  }
  const std::vector<std::byte> ones(65535, std::byte{0xff});
  InternetSum sum;
  sum.add(ones);
  EXPECT_EQ(sum.sum().to_host(), slow_sum(ones));
}

TEST(ChecksumUpdate, EqualsAFullChecksumAfterAnyReplacement) {
  std::mt19937 random(2);
  for (int round = 0; round < 20000; ++round) {
    auto bytes = random_bytes(random, 64);
    InternetSum before;
    before.add(bytes);
    ChecksumUpdate update;
    const auto old_port = Be16::from_network(static_cast<std::uint16_t>(random()));
    const auto new_port = Be16::from_network(static_cast<std::uint16_t>(random()));
    std::memcpy(bytes.data(), &old_port, 2);
    std::array<std::uint8_t, 16> raw{};
    std::memcpy(raw.data(), bytes.data() + 16, 16);
    const auto old_address = IpAddress::v6(raw);
    for (auto& byte : raw) byte = static_cast<std::uint8_t>(random());
    const auto new_address = IpAddress::v6(raw);
    InternetSum full;
    full.add(bytes);
    const Be16 old_checksum = full.checksum();

    std::memcpy(bytes.data(), &new_port, 2);
    std::memcpy(bytes.data() + 16, raw.data(), 16);
    update.replace(old_port, new_port);
    update.replace(old_address, new_address);
    InternetSum after;
    after.add(bytes);
    ASSERT_EQ(update.apply(old_checksum), after.checksum());
  }
}

TEST(ChecksumUpdate, Ipv4AddressCountsOnce) {
  ChecksumUpdate update;
  update.replace(*IpAddress::from_text("192.0.2.1"), *IpAddress::from_text("10.0.0.1"));
  InternetSum before;
  before.add(*IpAddress::from_text("192.0.2.1"));
  InternetSum after;
  after.add(*IpAddress::from_text("10.0.0.1"));
  EXPECT_EQ(update.apply(before.checksum()), after.checksum());
}

TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283U);
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0})), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43U);
  std::vector<std::byte> rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
}

TEST(Crc32c, PiecesGiveTheSameAsTheWhole) {
  std::mt19937 random(3);
  const auto bytes = random_bytes(random, 200);
  const std::uint32_t whole = crc32c(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const auto span = std::span<const std::byte>(bytes);
    EXPECT_EQ(crc32c(span.subspan(cut), crc32c(span.first(cut))), whole);
  }
}

}  // namespace
}  // namespace lb::net
