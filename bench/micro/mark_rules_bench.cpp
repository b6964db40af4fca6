// SPDX-License-Identifier: Apache-2.0
// The mark of a packet by the number of rules: through the index, and as a walk over all rules.
#include <benchmark/benchmark.h>

#include "engine/mark_rules.hpp"
#include "micro/traffic.hpp"

namespace lb::bench {
namespace {

using model::MarkRule;

net::IpAddress virtual_address(std::uint32_t number) {
  return net::IpAddress::v4(net::Be32::from_host(0x0a000000U + number));
}

// As large sites have them: a rule for two ports of each address, some for prefixes and ranges.
MarkRule rule_number(std::uint32_t i) {
  MarkRule rule;
  rule.value = i + 1;
  rule.protocol = static_cast<std::uint8_t>(net::Protocol::kTcp);
  if (i % 100 == 99) {
    rule.destination = {.address = virtual_address(i).prefix(24), .length = 24};
    rule.destination_ports.add({30000, 30999});
  } else {
    rule.destination = {.address = virtual_address(i), .length = 32};
    rule.destination_ports.add({80, 80});
    rule.destination_ports.add({443, 443});
  }
  return rule;
}

net::Headers packet_to(std::uint32_t number) {
  net::Headers headers;
  headers.source = numbered_client(false, number).address;
  headers.destination = virtual_address(number);
  headers.protocol = net::Protocol::kTcp;
  headers.has_ports = true;
  headers.source_port = net::Port::from_host(40000);
  headers.destination_port = net::Port::from_host(443);
  headers.end = 60;
  return headers;
}

bool fill(engine::MarkRules& rules, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!rules.insert(rule_number(i))) return false;
  }
  return true;
}

void MarkByIndex(benchmark::State& state) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  engine::MarkRules rules;
  if (!fill(rules, count)) return state.SkipWithError("a rule was refused");
  Numbers numbers;
  for (auto _ : state) {
    const auto number = static_cast<std::uint32_t>(numbers.next() % count);
    const auto mark = rules.apply(packet_to(number), "eth0");
    if (mark != (number % 100 == 99 ? 0 : number + 1)) return state.SkipWithError("a wrong mark");
  }
}
BENCHMARK(MarkByIndex)->Arg(1)->Arg(100)->Arg(10'000)->Arg(65'536);

void MarkByLinearWalk(benchmark::State& state) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  engine::MarkRules rules;
  if (!fill(rules, count)) return state.SkipWithError("a rule was refused");
  Numbers numbers;
  for (auto _ : state) {
    const auto headers = packet_to(static_cast<std::uint32_t>(numbers.next() % count));
    std::uint32_t mark = 0;
    for (std::uint32_t position = 1; position <= count; ++position) {
      const auto& rule = rules.at(position).rule;
      if (engine::matches(rule, headers, "eth0")) mark = rule.marked(mark);
    }
    benchmark::DoNotOptimize(mark);
  }
}
BENCHMARK(MarkByLinearWalk)->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace lb::bench
