// SPDX-License-Identifier: Apache-2.0
#include "net/checksum.hpp"

#include <array>

#include "net/bytes.hpp"

namespace lb::net {
namespace {

// Slice-by-8: eight tables, so that eight bytes cost eight independent look-ups.
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected
  CrcTables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? kPolynomial : 0);
    tables[0][i] = value;
  }
  for (std::size_t t = 1; t < tables.size(); ++t) {
    for (std::size_t i = 0; i < 256; ++i) {
      tables[t][i] = (tables[t - 1][i] >> 8U) ^ tables[0][tables[t - 1][i] & 0xffU];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

std::uint64_t load_little64(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  const auto value = load<std::uint64_t>(bytes, offset);
  return std::endian::native == std::endian::little ? value : __builtin_bswap64(value);
}

}  // namespace

void InternetSum::add(std::span<const std::byte> bytes) noexcept {
  // 64-bit words with end-around carry (2^64 - 1 is a multiple of 2^16 - 1), in two chains that
  // do not wait for each other.
  std::uint64_t even = 0;
  std::uint64_t odd = 0;
  std::size_t at = 0;
  const auto add_word = [](std::uint64_t& sum, std::uint64_t word) {
    sum += word;
    sum += static_cast<std::uint64_t>(sum < word);
  };
  for (; at + 32 <= bytes.size(); at += 32) {
    add_word(even, load<std::uint64_t>(bytes, at));
    add_word(odd, load<std::uint64_t>(bytes, at + 8));
    add_word(even, load<std::uint64_t>(bytes, at + 16));
    add_word(odd, load<std::uint64_t>(bytes, at + 24));
  }
  even = fold(even);
  odd = fold(odd);
  for (; at + 4 <= bytes.size(); at += 4) even += load<std::uint32_t>(bytes, at);
  if (at + 2 <= bytes.size()) {
    odd += load<std::uint16_t>(bytes, at);
    at += 2;
  }
  if (at < bytes.size()) {
    // The last byte counts as the first of a word that ends with zero.
    const std::array<std::byte, 2> last{bytes[at], std::byte{0}};
    odd += std::bit_cast<std::uint16_t>(last);
  }
  sum_ = fold(sum_) + std::uint64_t{fold(even)} + fold(odd);
}

Be16 transport_checksum(const IpAddress& source, const IpAddress& destination, Protocol protocol,
                        std::span<const std::byte> segment) noexcept {
  InternetSum sum;
  sum.add_pseudo_header(source, destination, protocol, static_cast<std::uint32_t>(segment.size()));
  sum.add(segment);
  return sum.checksum();
}

Be16 internet_checksum(std::span<const std::byte> bytes) noexcept {
  InternetSum sum;
  sum.add(bytes);
  return sum.checksum();
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  crc = ~crc;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    const std::uint64_t word = load_little64(bytes, at) ^ crc;
    crc = kCrc[7][word & 0xffU] ^ kCrc[6][(word >> 8U) & 0xffU] ^ kCrc[5][(word >> 16U) & 0xffU] ^
          kCrc[4][(word >> 24U) & 0xffU] ^ kCrc[3][(word >> 32U) & 0xffU] ^
          kCrc[2][(word >> 40U) & 0xffU] ^ kCrc[1][(word >> 48U) & 0xffU] ^ kCrc[0][word >> 56U];
  }
  for (; at < bytes.size(); ++at) {
    crc = (crc >> 8U) ^ kCrc[0][(crc ^ std::to_integer<std::uint32_t>(bytes[at])) & 0xffU];
  }
  return ~crc;
}

Be32 sctp_checksum(std::span<const std::byte> packet) noexcept {
  constexpr std::size_t kFieldOffset = 8;
  constexpr std::array<std::byte, 4> kZeros{};
  std::uint32_t crc = crc32c(packet.first(kFieldOffset));
  crc = crc32c(kZeros, crc);
  crc = crc32c(packet.subspan(kFieldOffset + kZeros.size()), crc);
  return Be32::from_host(__builtin_bswap32(crc));
}

}  // namespace lb::net
