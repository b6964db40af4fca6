// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "net/address.hpp"

namespace lb::engine {

/// Tells in a few instructions that an address is not in a set; counted, so that addresses can be
/// taken out again.
///
/// A bit for each of 16,384 values of a hash, which for some thousand addresses stay in the cache.
/// The hash has no secret: whoever has an address that is taken for one of the set only gets the
/// look-up that would be made without the filter.
class AddressFilter {
 public:
  AddressFilter() : counts_(std::make_unique<std::array<std::uint32_t, kValues>>()) {}

  void add(const net::IpAddress& address) noexcept {
    const std::size_t value = value_of(address);
    if ((*counts_)[value]++ == 0) bits_[value / 64] |= std::uint64_t{1} << (value % 64);
  }
  /// `address` must have been added.
  void remove(const net::IpAddress& address) noexcept {
    const std::size_t value = value_of(address);
    if (--(*counts_)[value] == 0) bits_[value / 64] &= ~(std::uint64_t{1} << (value % 64));
  }
  /// False: it is not in the set. True: it may be.
  [[nodiscard]] bool may_contain(const net::IpAddress& address) const noexcept {
    const std::size_t value = value_of(address);
    return (bits_[value / 64] >> (value % 64) & 1U) != 0;
  }

 private:
  static constexpr unsigned kBits = 14;
  static constexpr std::size_t kValues = std::size_t{1} << kBits;

  [[nodiscard]] static std::size_t value_of(const net::IpAddress& address) noexcept {
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes());
    std::uint64_t value = words[0] ^ words[1] * 0xbf58476d1ce4e5b9U;
    value = (value ^ value >> 32) * 0x9e3779b97f4a7c15U;
    value = (value ^ value >> 29) * 0x94d049bb133111ebU;
    return value >> (64 - kBits);
  }

  std::array<std::uint64_t, kValues / 64> bits_{};
  std::unique_ptr<std::array<std::uint32_t, kValues>> counts_;
};

}  // namespace lb::engine
