// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace lb::test {

/// How often `operator new`, in any of its forms, has been called by this thread so far. Only the
/// test program of the engine counts; allocation_counter_test.cpp replaces the operators.
[[nodiscard]] std::size_t allocations() noexcept;

/// Counts the allocations of this thread in a scope.
///
/// Example:
///   const AllocationCounter counter;
///   director.process(packet, ingress, now, outputs);
///   EXPECT_EQ(counter.count(), 0);
class AllocationCounter {
 public:
  [[nodiscard]] std::size_t count() const noexcept { return allocations() - before_; }

 private:
  std::size_t before_ = allocations();
};

}  // namespace lb::test
