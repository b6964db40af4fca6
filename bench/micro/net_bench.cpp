// SPDX-License-Identifier: Apache-2.0
// Checksums and parsing.
#include <benchmark/benchmark.h>

#include "engine/testing/packet_builder.hpp"

namespace lb::bench {
namespace {

using engine::test::end;

void Checksum(benchmark::State& state) {
  const auto bytes = engine::test::pattern(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(net::internet_checksum(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Checksum)->Arg(20)->Arg(64)->Arg(1500);

void ChecksumUpdate(benchmark::State& state) {
  auto checksum = net::Be16::from_host(0x1234);
  const auto from = engine::test::ip("192.0.2.10");
  const auto to = engine::test::ip("10.0.0.2");
  for (auto _ : state) {
    net::ChecksumUpdate update;
    update.replace(from, to);
    checksum = update.apply(checksum);
    benchmark::DoNotOptimize(checksum);
  }
}
BENCHMARK(ChecksumUpdate);

void Crc32c(benchmark::State& state) {
  const auto bytes = engine::test::pattern(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(net::crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Crc32c)->Arg(64)->Arg(1500);

void Parse(benchmark::State& state) {
  const auto frame =
      state.range(0) == 4
          ? engine::test::tcp(end("198.51.100.7", 40000), end("192.0.2.10", 80), net::kTcpAck)
          : engine::test::tcp(end("2001:db8:1::7", 40000), end("2001:db8:2::10", 80), net::kTcpAck);
  for (auto _ : state) benchmark::DoNotOptimize(net::parse_frame(frame));
}
BENCHMARK(Parse)->ArgName("ipv")->Arg(4)->Arg(6);

}  // namespace
}  // namespace lb::bench
