// SPDX-License-Identifier: Apache-2.0
// Look-ups in the connection table: what is there, in random order, and what is not.
#include <benchmark/benchmark.h>

#include <memory>

#include "engine/connection_table.hpp"
#include "micro/traffic.hpp"

namespace lb::bench {
namespace {

constexpr engine::EndpointId kVirtualEnd = 1;

std::unique_ptr<engine::ConnectionTable> filled(std::uint32_t count) {
  auto table = std::make_unique<engine::ConnectionTable>(
      count, std::array<std::uint64_t, 2>{0x0706050403020100, 0x0f0e0d0c0b0a0908});
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto id = table->create();
    if (id == 0) return nullptr;
    auto& record = table->at(id);
    const auto client = numbered_client(false, i);
    record.client = client.address.bytes();
    record.client_port = client.port;
    record.protocol = net::Protocol::kTcp;
    record.virtual_end = kVirtualEnd;
    record.real_end = 2;
    table->file(id, true);
  }
  return table;
}

// The clients of a miss are those behind the last one that is there.
void look_up(benchmark::State& state, std::uint32_t first) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  const auto table = filled(count);
  if (table == nullptr) return state.SkipWithError("the table is too small");
  Numbers numbers;
  std::uint64_t found = 0;
  for (auto _ : state) {
    const auto client =
        numbered_client(false, first + static_cast<std::uint32_t>(numbers.next() % count));
    found += table->find(net::Protocol::kTcp, client.address, client.port, kVirtualEnd, false) != 0
                 ? 1U
                 : 0U;
  }
  if (found != (first == 0 ? static_cast<std::uint64_t>(state.iterations()) : 0U)) {
    state.SkipWithError("wrong answers");
  }
}

void LookUpHit(benchmark::State& state) { look_up(state, 0); }
void LookUpMiss(benchmark::State& state) {
  look_up(state, static_cast<std::uint32_t>(state.range(0)));
}
BENCHMARK(LookUpHit)->Arg(1'000)->Arg(100'000)->Arg(4'000'000);
BENCHMARK(LookUpMiss)->Arg(1'000)->Arg(100'000)->Arg(4'000'000);

}  // namespace
}  // namespace lb::bench
