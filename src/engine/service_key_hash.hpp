// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/service.hpp"

namespace lb::engine {

/// Spreads 64 bits that count up.
[[nodiscard]] constexpr std::uint64_t mix_hash(std::uint64_t hash, std::uint64_t word) noexcept {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 32);
}

[[nodiscard]] inline std::uint64_t mix_hash(std::uint64_t hash,
                                            const net::IpAddress& address) noexcept {
  for (std::size_t i = 0; i < 4; i += 2) {
    hash = mix_hash(hash, (std::uint64_t{address.word(i).to_network()} << 32) |
                              address.word(i + 1).to_network());
  }
  return hash;
}

/// Keys come from the administrator alone, so the hash needs no secret; it must only spread
/// addresses and ports that count up.
struct ServiceKeyHash {
  std::size_t operator()(const model::ServiceKey& key) const noexcept {
    auto hash =
        mix_hash(key.fwmark, (std::uint64_t{static_cast<std::uint8_t>(key.protocol)} << 16) |
                                 key.port.to_network());
    hash = mix_hash(hash, key.address);
    return mix_hash(hash, static_cast<std::uint64_t>(key.family));
  }
};

}  // namespace lb::engine
