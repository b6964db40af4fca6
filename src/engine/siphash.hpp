// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "net/address.hpp"

namespace lb::engine {

/// The secret of a keyed hash, as two little-endian words.
using HashKey = std::array<std::uint64_t, 2>;

/// SipHash-c-d (Aumasson, Bernstein 2012) fed with whole 64-bit words.
///
/// The tables use 1-3, the variant with fewer rounds that its authors offer for hash tables and
/// that Linux (hsiphash on 64-bit machines) and Python use for theirs: clients choose what goes in
/// but never see a hash, so that collisions cannot be searched for from outside. Our keys fill the
/// blocks well: an IPv4 connection key is 11 bytes, one word and a last word that carries the
/// length anyway.
template <int kBlockRounds, int kFinalRounds>
class SipHash {
 public:
  explicit constexpr SipHash(const HashKey& key) noexcept
      : v0_(key[0] ^ 0x736f6d6570736575U),
        v1_(key[1] ^ 0x646f72616e646f6dU),
        v2_(key[0] ^ 0x6c7967656e657261U),
        v3_(key[1] ^ 0x7465646279746573U) {}

  /// Takes the next eight bytes of the message, first byte lowest.
  constexpr void word(std::uint64_t m) noexcept {
    v3_ ^= m;
    rounds<kBlockRounds>();
    v0_ ^= m;
  }

  /// Takes the last 0..7 bytes (`rest`, first byte lowest) of a message of `length` bytes and
  /// returns the hash.
  [[nodiscard]] constexpr std::uint64_t finish(std::uint64_t rest, std::size_t length) noexcept {
    word(rest | static_cast<std::uint64_t>(length) << 56);
    v2_ ^= 0xff;
    rounds<kFinalRounds>();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  template <int kCount>
  constexpr void rounds() noexcept {
    for (int i = 0; i < kCount; ++i) {
      v0_ += v1_;
      v2_ += v3_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ = std::rotl(v0_, 32) + v3_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

using SipHash13 = SipHash<1, 3>;
using SipHash24 = SipHash<2, 4>;

/// The hash of any bytes; the slow form, for tests and for what no packet waits for.
template <class Hash>
[[nodiscard]] constexpr std::uint64_t siphash(const HashKey& key,
                                              std::span<const std::uint8_t> bytes) noexcept {
  Hash hash(key);
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    word |= std::uint64_t{bytes[i]} << (8 * (i % 8));
    if (i % 8 == 7) {
      hash.word(word);
      word = 0;
    }
  }
  return hash.finish(word, bytes.size());
}

namespace detail {

template <class Int>
[[nodiscard]] inline Int load_little(const std::uint8_t* bytes) noexcept {
  Int value = 0;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::endian::native == std::endian::big) {
    value = sizeof(Int) == 8
                ? static_cast<Int>(__builtin_bswap64(value))
                : static_cast<Int>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  }
  return value;
}

[[nodiscard]] inline std::uint64_t port_and_protocol(net::Port port,
                                                     net::Protocol protocol) noexcept {
  return std::uint64_t{port.to_host()} | std::uint64_t{static_cast<std::uint8_t>(protocol)} << 16;
}

}  // namespace detail

/// The hash of (address, port, protocol): SipHash-1-3 of the address's 4 or 16 bytes, the port
/// (lower byte first) and the protocol; one block for IPv4, three for IPv6. `address` is in the
/// form of `IpAddress::bytes`.
[[nodiscard]] inline std::uint64_t hash_endpoint(const HashKey& key, net::Family family,
                                                 const std::array<std::uint8_t, 16>& address,
                                                 net::Port port, net::Protocol protocol) noexcept {
  SipHash13 hash(key);
  const std::uint64_t rest = detail::port_and_protocol(port, protocol);
  if (family == net::Family::kIpv4) {
    return hash.finish(detail::load_little<std::uint32_t>(address.data()) | rest << 32, 7);
  }
  hash.word(detail::load_little<std::uint64_t>(address.data()));
  hash.word(detail::load_little<std::uint64_t>(address.data() + 8));
  return hash.finish(rest, 19);
}

/// The hash of a connection key (client, end, client port, protocol): SipHash-1-3 of the client's
/// 4 or 16 bytes, the number of the other end (lowest byte first), the port (lower byte first) and
/// the protocol; two blocks for IPv4, three for IPv6.
[[nodiscard]] inline std::uint64_t hash_connection(const HashKey& key, net::Family family,
                                                   const std::array<std::uint8_t, 16>& client,
                                                   net::Port client_port, std::uint32_t end,
                                                   net::Protocol protocol) noexcept {
  SipHash13 hash(key);
  const std::uint64_t rest = detail::port_and_protocol(client_port, protocol);
  if (family == net::Family::kIpv4) {
    hash.word(detail::load_little<std::uint32_t>(client.data()) | std::uint64_t{end} << 32);
    return hash.finish(rest, 11);
  }
  hash.word(detail::load_little<std::uint64_t>(client.data()));
  hash.word(detail::load_little<std::uint64_t>(client.data() + 8));
  return hash.finish(end | rest << 32, 23);
}

}  // namespace lb::engine
