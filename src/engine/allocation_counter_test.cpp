// SPDX-License-Identifier: Apache-2.0
#include "engine/allocation_counter.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/connection_table.hpp"
#include "engine/endpoint_table.hpp"
#include "engine/rate_estimator.hpp"
#include "engine/timer_wheel.hpp"
#include "engine/verdict.hpp"

namespace {

thread_local std::size_t allocation_count = 0;

void* allocate_or_null(std::size_t size, std::size_t alignment) noexcept {
  ++allocation_count;
  // aligned_alloc wants a multiple of the alignment (C11 7.22.3.1), and not nothing.
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  if (whole < size) return nullptr;
  return std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
}

void* allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) {
  void* memory = allocate_or_null(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* allocate_aligned(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}

// Behind a call, lest the compiler see what `operator new` returned go to `free` and warn.
[[gnu::noinline]] void deallocate(void* memory) noexcept { std::free(memory); }

}  // namespace

// All forms, for AddressSanitizer has its own of those that we leave out.
void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_or_null(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_or_null(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_aligned(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate_aligned(size, alignment);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate_or_null(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate_or_null(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { deallocate(memory); }
void operator delete[](void* memory) noexcept { deallocate(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { deallocate(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { deallocate(memory); }
void operator delete(void* memory, std::size_t) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::size_t) noexcept { deallocate(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { deallocate(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { deallocate(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  deallocate(memory);
}
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  deallocate(memory);
}

namespace lb::test {

std::size_t allocations() noexcept { return allocation_count; }

}  // namespace lb::test

namespace lb::engine {
namespace {

using test::AllocationCounter;

constexpr std::uint32_t kCapacity = 1000;
constexpr HashKey kKey{1, 2};

net::IpAddress client_address(std::uint32_t number) {
  return net::IpAddress::v4(net::Be32::from_host(0x0a000000 + number));
}

TEST(AllocationCounter, SeesEveryFormOfNew) {
  struct alignas(64) Line {
    char bytes[64];
  };
  const AllocationCounter counter;
  const auto plain = std::make_unique<std::uint64_t>(1);
  EXPECT_EQ(counter.count(), 1U);
  const auto array = std::make_unique<std::uint64_t[]>(100);
  EXPECT_EQ(counter.count(), 2U);
  const auto aligned = std::make_unique<Line>();
  EXPECT_EQ(counter.count(), 3U);
  const std::unique_ptr<int> quiet(new (std::nothrow) int(1));
  EXPECT_EQ(counter.count(), 4U);
  const std::unique_ptr<int[]> quiet_array(new (std::nothrow) int[10]);
  EXPECT_EQ(counter.count(), 5U);
  const std::unique_ptr<Line[]> aligned_array(new (std::nothrow) Line[2]);
  EXPECT_EQ(counter.count(), 6U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned.get()) % 64, 0U);
}

TEST(NoAllocation, EndpointTable) {
  EndpointTable table(kCapacity, kKey);
  const AllocationCounter counter;
  for (std::uint32_t i = 0; i < 3 * kCapacity; ++i) {
    const net::IpAddress address = client_address(i);
    const EndpointId id = table.acquire(net::Protocol::kTcp, address, net::Port::from_host(80));
    if (id == 0) continue;
    table.retain(id);
    table.release(id);
    if (i % 3 == 0) table.release(id);
    static_cast<void>(table.find(net::Protocol::kUdp, address, net::Port::from_host(80)));
  }
  EXPECT_EQ(counter.count(), 0U);
}

TEST(NoAllocation, ConnectionTable) {
  ConnectionTable table(kCapacity, kKey);
  const AllocationCounter counter;
  for (std::uint32_t i = 0; i < 3 * kCapacity; ++i) {
    const ConnectionId id = table.create();
    if (id == 0) continue;
    table.at(id).client = client_address(i).bytes();
    table.file(id, true);
    if (i % 3 == 0) table.destroy(id);
    static_cast<void>(
        table.find(net::Protocol::kIp, client_address(i / 2), net::Port::from_host(0), 0, false));
  }
  EXPECT_EQ(counter.count(), 0U);
}

TEST(NoAllocation, TimerWheel) {
  TimerWheel wheel(kCapacity, Timestamp{});
  const AllocationCounter counter;
  Timestamp now{};
  for (std::uint32_t i = 1; i <= kCapacity; ++i) wheel.arm(i, now + i * std::chrono::hours(1));
  for (int i = 0; i < 2000; ++i) {
    now = now + std::chrono::hours(1);
    if (const std::uint32_t due = wheel.next_due(now); due != 0 && due % 2 == 0) {
      wheel.arm(due, now + std::chrono::seconds(60));
    }
  }
  EXPECT_EQ(counter.count(), 0U);
}

TEST(NoAllocation, RatesAndOutputs) {
  RateEstimator estimator;
  Outputs outputs;
  const AllocationCounter counter;
  for (std::uint64_t i = 0; i < 100; ++i) {
    estimator.counters(i).bytes_in += 1500;
    static_cast<void>(estimator.shown(i));
    static_cast<void>(outputs.reserve(1500));
    outputs.commit(Verdict::host());
    if (i % 80 == 79) outputs.clear();
  }
  estimator.zero(100);
  EXPECT_EQ(counter.count(), 0U);
}

}  // namespace
}  // namespace lb::engine
