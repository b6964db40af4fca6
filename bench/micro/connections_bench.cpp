// SPDX-License-Identifier: Apache-2.0
// A million connections: how long their expiry holds up packets, how much memory they take.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>

#include "micro/traffic.hpp"

namespace lb::bench {
namespace {

using model::ForwardingMethod;

constexpr std::uint32_t kCount = 1'000'000;

// Of this thread, lest other programs count.
std::chrono::duration<double> processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

double resident_bytes() {
  std::ifstream stream("/proc/self/statm");
  double total = 0;
  double resident = 0;
  stream >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Resident memory of a director with its table full, less that of one without connections.
void MemoryOfAMillion(benchmark::State& state) {
  // Large blocks are given back when they are freed, also those of the directors before.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  double bytes = 0;
  for (auto _ : state) {
    const double before = resident_bytes();
    Balancer balancer(state.range(0) == 6, ForwardingMethod::kMasquerade, kCount);
    const double empty = resident_bytes();
    if (!balancer.open(kCount)) return state.SkipWithError("not opened");
    bytes = resident_bytes() - empty;
    state.counters["empty_MiB"] = (empty - before) / (1 << 20);
  }
  state.counters["bytes_per_connection"] = bytes / kCount;
}
BENCHMARK(MemoryOfAMillion)
    ->ArgName("ipv")
    ->Arg(4)
    ->Arg(6)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// All fall due at once; `budget` timers at a time, as the daemon does between packets.
void ExpireAMillion(benchmark::State& state) {
  const auto budget = static_cast<std::size_t>(state.range(0));
  std::chrono::duration<double> longest{};
  for (auto _ : state) {
    Balancer balancer(false, ForwardingMethod::kMasquerade, kCount);
    if (!balancer.open(kCount)) return state.SkipWithError("not opened");
    balancer.pass(std::chrono::hours(1));
    std::chrono::duration<double> all{};
    bool more = true;
    while (more) {
      const auto start = processor_time();
      more = balancer.director().advance(balancer.now(), budget);
      const auto took = processor_time() - start;
      all += took;
      longest = std::max(longest, took);
    }
    if (balancer.director().connection_count() != 0) return state.SkipWithError("some are left");
    state.SetIterationTime(all.count());
  }
  state.counters["longest_call_us"] = longest.count() * 1e6;
  state.counters["per_connection"] = benchmark::Counter(
      kCount, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(ExpireAMillion)
    ->ArgName("budget")
    ->Arg(256)
    ->Arg(4096)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lb::bench
