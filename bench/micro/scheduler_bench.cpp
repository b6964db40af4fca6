// SPDX-License-Identifier: Apache-2.0
// A choice by each scheduler, among servers that differ in weight and load.
#include <benchmark/benchmark.h>

#include "engine/scheduler/fixture.hpp"
#include "micro/traffic.hpp"

namespace lb::bench {
namespace {

void Schedule(benchmark::State& state, const char* scheduler) {
  engine::testing::TestService service(scheduler);
  Numbers numbers;
  for (std::uint32_t n = 1; n <= static_cast<std::uint32_t>(state.range(0)); ++n) {
    auto& server = service.add(n, 1 + static_cast<std::int32_t>(numbers.next() % 10));
    server.active_connections = static_cast<std::uint32_t>(numbers.next() % 1000);
    server.inactive_connections = static_cast<std::uint32_t>(numbers.next() % 1000);
  }
  if (!service.is_bound) return state.SkipWithError("not bound");
  service.input.virtual_address = engine::test::vip().address;
  service.input.client_port = engine::test::port_of(40000);
  for (auto _ : state) {
    service.input.client =
        numbered_client(false, static_cast<std::uint32_t>(numbers.next() % 100'000)).address;
    benchmark::DoNotOptimize(service.pick());
  }
}

#define LB_SCHEDULER(name) \
  BENCHMARK_CAPTURE(Schedule, name, #name)->ArgName("servers")->Arg(4)->Arg(100)->Arg(1000)
LB_SCHEDULER(rr);
LB_SCHEDULER(wrr);
LB_SCHEDULER(lc);
LB_SCHEDULER(wlc);
LB_SCHEDULER(lblc);
LB_SCHEDULER(lblcr);
LB_SCHEDULER(dh);
LB_SCHEDULER(sh);
LB_SCHEDULER(sed);
LB_SCHEDULER(nq);
LB_SCHEDULER(fo);
LB_SCHEDULER(ovf);
LB_SCHEDULER(mh);
LB_SCHEDULER(twos);
#undef LB_SCHEDULER

}  // namespace
}  // namespace lb::bench
