// SPDX-License-Identifier: Apache-2.0
#include "engine/zeroed_array.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace lb::engine {
namespace {

TEST(ZeroedArray, IsZeroAndAlignedHoweverOftenMemoryIsUsedAgain) {
  for (const std::size_t size : {0U, 1U, 15U, 100U, 1000U, 100000U}) {
    for (int i = 0; i < 10; ++i) {
      ZeroedArray<std::uint32_t> array(size);
      EXPECT_EQ(array.size(), size);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % array.kAlignment, 0U);
      EXPECT_TRUE(std::all_of(array.data(), array.data() + size, [](auto v) { return v == 0; }));
      std::fill_n(array.data(), size, ~std::uint32_t{0});
    }
  }
}

TEST(ZeroedArray, ThrowsWhatAVectorThrowsIfThereIsNoRoom) {
  EXPECT_THROW(ZeroedArray<std::uint64_t>{std::numeric_limits<std::size_t>::max()}, std::bad_alloc);
  EXPECT_THROW(ZeroedArray<std::uint64_t>{std::numeric_limits<std::size_t>::max() / 8},
               std::bad_alloc);
}

}  // namespace
}  // namespace lb::engine
