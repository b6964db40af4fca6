// SPDX-License-Identifier: Apache-2.0
// Director::process: established packets, new connections, a flood.
#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "micro/traffic.hpp"

namespace lb::bench {
namespace {

using engine::Verdict;
using model::ForwardingMethod;

void set_rate(benchmark::State& state) { state.SetItemsProcessed(state.iterations()); }

// What the benchmarks below spend on making the packet; to be taken off their results.
void MakePacketOnly(benchmark::State& state) {
  Balancer balancer(state.range(0) == 6, ForwardingMethod::kMasquerade, 16);
  NumberedFrame frame(state.range(0) == 6, net::kTcpAck);
  Numbers numbers;
  for (auto _ : state) {
    auto packet = balancer.receive(frame.from(static_cast<std::uint32_t>(numbers.next() % 1000)));
    benchmark::DoNotOptimize(packet);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(MakePacketOnly)->ArgName("ipv")->Arg(4)->Arg(6);

// A balancer with `count` connections; the one made last is kept, for a benchmark is called several
// times. Null if they could not be opened.
Balancer* opened(bool is_v6, ForwardingMethod method, std::uint32_t count) {
  using Kind = std::tuple<bool, ForwardingMethod, std::uint32_t>;
  static std::optional<std::pair<Kind, std::unique_ptr<Balancer>>> last;
  const Kind kind{is_v6, method, count};
  if (!last || last->first != kind) {
    last.reset();
    auto balancer = std::make_unique<Balancer>(is_v6, method, count + 16);
    if (!balancer->open(count)) return nullptr;
    last.emplace(kind, std::move(balancer));
  }
  return last->second.get();
}

// A TCP packet of a random one of `connections`.
void Established(benchmark::State& state, ForwardingMethod method) {
  const bool is_v6 = state.range(0) == 6;
  const auto count = static_cast<std::uint32_t>(state.range(1));
  auto* const made = opened(is_v6, method, count);
  if (made == nullptr) return state.SkipWithError("not opened");
  auto& balancer = *made;
  NumberedFrame frame(is_v6, net::kTcpAck);
  Numbers numbers;
  std::uint64_t sent = 0;
  for (auto _ : state) {
    const auto verdict =
        balancer.process(frame.from(static_cast<std::uint32_t>(numbers.next() % count)));
    sent += verdict.kind == Verdict::Kind::kSend ? 1U : 0U;
  }
  if (sent != static_cast<std::uint64_t>(state.iterations())) state.SkipWithError("not sent");
  set_rate(state);
}
#define LB_ESTABLISHED(name, method)           \
  BENCHMARK_CAPTURE(Established, name, method) \
      ->ArgNames({"ipv", "connections"})       \
      ->ArgsProduct({{4, 6}, {1'000, 100'000, 1'000'000}})
LB_ESTABLISHED(nat, ForwardingMethod::kMasquerade);
LB_ESTABLISHED(dr, ForwardingMethod::kDirectRoute);
LB_ESTABLISHED(tun, ForwardingMethod::kTunnel);
#undef LB_ESTABLISHED

#if __has_include("engine/burst.hpp")
// The same in bursts of 32, as they come from AF_XDP; time is that of a packet.
void EstablishedBurst(benchmark::State& state) {
  const bool is_v6 = state.range(0) == 6;
  const auto count = static_cast<std::uint32_t>(state.range(1));
  auto* const balancer = opened(is_v6, ForwardingMethod::kMasquerade, count);
  if (balancer == nullptr) return state.SkipWithError("not opened");
  NumberedFrame frame(is_v6, net::kTcpAck);
  Numbers numbers;
  std::uint64_t sent = 0;
  while (state.KeepRunningBatch(engine::kBurst)) {
    sent += balancer->process_burst(
        frame, [&] { return static_cast<std::uint32_t>(numbers.next() % count); });
  }
  if (sent != static_cast<std::uint64_t>(state.iterations())) state.SkipWithError("not sent");
  set_rate(state);
}
BENCHMARK(EstablishedBurst)
    ->ArgNames({"ipv", "connections"})
    ->ArgsProduct({{4, 6}, {1'000, 100'000, 1'000'000}});
#endif

// A SYN of a client not seen before; the table is emptied out of the measured time.
void NewConnection(benchmark::State& state) {
  constexpr std::uint32_t kCapacity = 1'000'000;
  Balancer balancer(false, ForwardingMethod::kMasquerade, kCapacity);
  NumberedFrame frame(false, net::kTcpSyn);
  std::uint32_t next = 0;
  for (auto _ : state) {
    if (balancer.director().connection_count() == kCapacity) {
      state.PauseTiming();
      balancer.pass(std::chrono::hours(1));
      while (balancer.director().advance(balancer.now())) {
      }
      next = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(balancer.process(frame.from(next++)));
  }
  if (balancer.director()
          .counters()
          .dropped[static_cast<std::size_t>(engine::DropReason::kTableFull)] != 0) {
    state.SkipWithError("table full");
  }
  set_rate(state);
}
BENCHMARK(NewConnection);

// SYNs of ever new clients to a full table: each is looked up, scheduled and dropped.
void FloodOfFullTable(benchmark::State& state) {
  constexpr std::uint32_t kCapacity = 1'000'000;
  Balancer balancer(false, ForwardingMethod::kMasquerade, kCapacity);
  if (!balancer.open(kCapacity)) return state.SkipWithError("not opened");
  NumberedFrame frame(false, net::kTcpSyn);
  Numbers numbers;
  std::uint64_t dropped = 0;
  for (auto _ : state) {
    const auto client = kCapacity + static_cast<std::uint32_t>(numbers.next() % 3'000'000);
    dropped += balancer.process(frame.from(client)).reason == engine::DropReason::kTableFull;
  }
  if (dropped != static_cast<std::uint64_t>(state.iterations())) {
    state.SkipWithError("not dropped");
  }
  set_rate(state);
}
BENCHMARK(FloodOfFullTable);

}  // namespace
}  // namespace lb::bench
