// SPDX-License-Identifier: Apache-2.0
#include "engine/address_filter.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace lb::engine {
namespace {

net::IpAddress address_of(std::uint32_t number, bool is_v6) {
  if (!is_v6) return net::IpAddress::v4(net::Be32::from_host(number));
  const auto low = net::IpAddress::v4(net::Be32::from_host(number)).bytes();
  std::array<std::uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  std::copy_n(low.begin(), 4, bytes.begin() + 12);
  return net::IpAddress::v6(bytes);
}

RC_GTEST_PROP(AddressFilter, NeverDeniesWhatIsThere,
              (const std::vector<std::pair<std::uint32_t, bool>>& numbers)) {
  AddressFilter filter;
  for (const auto& [number, is_v6] : numbers) filter.add(address_of(number, is_v6));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    for (std::size_t j = i; j < numbers.size(); ++j) {
      RC_ASSERT(filter.may_contain(address_of(numbers[j].first, numbers[j].second)));
    }
    filter.remove(address_of(numbers[i].first, numbers[i].second));
  }
  for (const auto& [number, is_v6] : numbers) {
    RC_ASSERT(!filter.may_contain(address_of(number, is_v6)));
  }
}

// A thousand servers in a row must let through few of the clients.
TEST(AddressFilter, DeniesNearlyAllOthers) {
  for (const bool is_v6 : {false, true}) {
    AddressFilter filter;
    EXPECT_FALSE(filter.may_contain(address_of(0x0a000001, is_v6)));
    for (std::uint32_t i = 0; i < 1000; ++i) filter.add(address_of(0x0a000001 + i, is_v6));
    int passed = 0;
    for (std::uint32_t i = 0; i < 10000; ++i) {
      passed += filter.may_contain(address_of(0xc6336400 + i * 7, is_v6)) ? 1 : 0;
    }
    EXPECT_LT(passed, 1000);  // a perfect hash would let through 600
  }
}

}  // namespace
}  // namespace lb::engine
