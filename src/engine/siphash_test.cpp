// SPDX-License-Identifier: Apache-2.0
#include "engine/siphash.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>
#include <utility>
#include <vector>

namespace lb::engine {
namespace {

// The message of the published vectors: the bytes 0, 1, 2, ...
std::vector<std::uint8_t> counting(std::size_t length) {
  std::vector<std::uint8_t> bytes(length);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return bytes;
}

// Vectors of the authors' reference implementation, key 00 01 .. 0f; the one of 15 bytes is also in
// the paper (appendix A).
TEST(SipHash, MatchesThePublishedVectorsOf24) {
  constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  constexpr std::uint64_t kExpected[] = {
      0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
      0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
      0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
      0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5};
  for (std::size_t length = 0; length < std::size(kExpected); ++length) {
    EXPECT_EQ(siphash<SipHash24>(kKey, counting(length)), kExpected[length]) << length;
  }
}

// From CPython 3.11, whose hash of bytes is SipHash-1-3, under a key of zero
// (PYTHONHASHSEED=0 python3 -c 'print(hex(hash(bytes(range(N))) & (1<<64)-1))').
TEST(SipHash, MatchesPython13) {
  constexpr std::pair<std::size_t, std::uint64_t> kExpected[] = {
      {1, 0x68a914128e01e473},  {3, 0x4d4c9a4a8ef6e0ad},  {7, 0x2f098ab0c751325a},
      {8, 0xead411e67ebe2eea},  {11, 0xfe64ce8b6617fcff}, {15, 0xf30eb725bb91c9ea},
      {16, 0x8972188433a5c5b7}, {19, 0x091f4a3329f87d19}, {23, 0x37332b1389daa4ff},
      {31, 0x169739443111d49b}};
  for (const auto& [length, expected] : kExpected) {
    EXPECT_EQ(siphash<SipHash13>(HashKey{}, counting(length)), expected) << length;
  }
}

void append(std::vector<std::uint8_t>& bytes, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

RC_GTEST_PROP(SipHash, KeysHashAsTheirBytes,
              (HashKey key, std::array<std::uint8_t, 16> address, bool is_v4, std::uint16_t port,
               std::uint8_t protocol, std::uint32_t end)) {
  const net::Family family = is_v4 ? net::Family::kIpv4 : net::Family::kIpv6;
  const auto size = is_v4 ? 4 : 16;
  std::vector<std::uint8_t> endpoint(address.begin(), address.begin() + size);
  std::vector<std::uint8_t> connection = endpoint;
  append(connection, end, 4);
  for (auto* bytes : {&endpoint, &connection}) {
    append(*bytes, port, 2);
    append(*bytes, protocol, 1);
  }
  const net::Port client_port = net::Port::from_host(port);
  const net::Protocol number{protocol};
  RC_ASSERT(hash_endpoint(key, family, address, client_port, number) ==
            siphash<SipHash13>(key, endpoint));
  RC_ASSERT(hash_connection(key, family, address, client_port, end, number) ==
            siphash<SipHash13>(key, connection));
}

}  // namespace
}  // namespace lb::engine
