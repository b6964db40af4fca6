// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/stand_in_table.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

namespace lb::engine {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
// Of a weight so many bits count, as in the scheduler mh: one round must not fill the table.
constexpr int kWeightBits = 6;

struct Claim {
  std::uint32_t destination = 0;
  std::uint32_t place = 0;
  std::uint32_t step = 0;
  std::int32_t turns = 1;
};

std::vector<Claim> claims_of(std::vector<TableClaimant>& claimants, std::uint32_t size) {
  // Whoever comes first in a round has an advantage: the order must not be that of arrival.
  std::sort(claimants.begin(), claimants.end(),
            [](const auto& a, const auto& b) { return a.seed < b.seed; });
  std::int32_t divisor = 0;
  std::int32_t greatest = 0;
  for (const auto& each : claimants) {
    divisor = std::gcd(divisor, each.weight);
    greatest = std::max(greatest, each.weight);
  }
  const int bits = std::bit_width(static_cast<std::uint32_t>(greatest / divisor));
  const int shift = std::max(bits - kWeightBits, 0);
  std::vector<Claim> claims;
  for (const auto& each : claimants) {
    claims.push_back({.destination = each.destination,
                      .place = static_cast<std::uint32_t>(each.seed % size),
                      .step = static_cast<std::uint32_t>((each.seed >> 32U) % (size - 1)) + 1,
                      .turns = std::max((each.weight / divisor) >> shift, 1)});
  }
  return claims;
}

}  // namespace

void fill_table(std::span<std::uint32_t> table, std::vector<TableClaimant> claimants) {
  const auto size = static_cast<std::uint32_t>(table.size());
  if (size == 1) {
    table[0] = claimants.front().destination;
    return;
  }
  auto claims = claims_of(claimants, size);
  std::fill(table.begin(), table.end(), kNone);
  std::uint32_t left = size;
  while (true) {
    for (auto& claim : claims) {
      for (std::int32_t turn = 0; turn < claim.turns; ++turn) {
        while (table[claim.place] != kNone) claim.place = (claim.place + claim.step) % size;
        table[claim.place] = claim.destination;
        if (--left == 0) return;
      }
    }
  }
}

}  // namespace lb::engine
