// SPDX-License-Identifier: Apache-2.0
// What a packet of an established connection costs in the XDP program, by BPF_PROG_TEST_RUN: for
// each method and IP version, beside a program that only swaps the addresses of the frame, and
// beside the same program with maps of the kernel (flows in BPF_MAP_TYPE_LRU_HASH). And what it
// costs to publish a flow, beside bpf_map_update_elem. Rounds of all take turns. Needs root.
//
//     sluice_xdp_bench [ROUNDS [FLOWS...]]
//
// A single round has a hundredth of the packets: to see that it works.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "subject.hpp"
#include "vary.skel.h"

namespace lb::bench {
namespace {

std::uint32_t repeat = 500'000;  // packets of a round

struct Method {
  model::ForwardingMethod method;
  const char* name;
};
constexpr std::array kMethods{
    Method{model::ForwardingMethod::kMasquerade, "NAT"},
    Method{model::ForwardingMethod::kDirectRoute, "DR"},
    Method{model::ForwardingMethod::kTunnel, "TUN (IPIP)"},
};

/// Nanoseconds a run of `program` on packets of `flows` flows.
double measure(vary_bpf& vary, int program, net::Family family, std::uint32_t flows) {
  const std::uint32_t key = 0;
  if (::bpf_map_update_elem(bpf_map__fd(vary.maps.under_test), &key, &program, BPF_ANY) != 0) {
    fail("cannot set the program under test");
  }
  const bool is_ipv6 = family == net::Family::kIpv6;
  vary.bss->flow_mask = flows - 1;
  vary.bss->first_client = first_client(family);
  vary.bss->is_ipv6 = is_ipv6 ? 1 : 0;
  const auto frame = engine::test::tcp(client_of(family, 0), service_of(family), net::kTcpAck,
                                       kFrame - (is_ipv6 ? 74 : 54));
  if (::bpf_map_update_elem(bpf_map__fd(vary.maps.frames), &key, frame.data(), BPF_ANY) != 0) {
    fail("cannot set the frame");
  }
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = kFrame;
  options.repeat = static_cast<int>(repeat);
  if (::bpf_prog_test_run_opts(bpf_program__fd(vary.progs.vary), &options) != 0) {
    fail("cannot run the program");
  }
  return options.duration;
}

double measure(vary_bpf& vary, const Forwarder& forwarder, net::Family family,
               std::uint32_t flows) {
  const auto before = forwarder.forwarded();
  const auto time = measure(vary, forwarder.program(), family, flows);
  const auto forwarded = forwarder.forwarded() - before;
  if (forwarded < repeat * 90ULL / 100) {
    fail(fmt::format("only {} of {} packets were forwarded", forwarded, repeat));
  }
  return time;
}

/// Median (lowest to highest).
std::string spread(std::vector<double> values, int digits) {
  std::sort(values.begin(), values.end());
  return fmt::format("{:.{}f} ({:.{}f}-{:.{}f})", values[values.size() / 2], digits, values.front(),
                     digits, values.back(), digits);
}

/// Of rounds that were run as pairs.
std::vector<double> ratios(const std::vector<double>& values, const std::vector<double>& base) {
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); ++i) result.push_back(values[i] / base[i]);
  return result;
}

void compare(vary_bpf& vary, const Method& method, net::Family family, std::uint32_t flows,
             int rounds) {
  const Subject subject(method.method, family, flows);
  const LruTwin twin(subject);
  std::vector<double> bare;
  std::vector<double> own;
  std::vector<double> lru;
  for (int round = 0; round < rounds; ++round) {
    bare.push_back(measure(vary, bpf_program__fd(vary.progs.bare), family, flows));
    own.push_back(measure(vary, subject, family, flows));
    lru.push_back(measure(vary, twin, family, flows));
  }
  std::vector<double> own_alone;
  std::vector<double> lru_alone;
  for (std::size_t i = 0; i < bare.size(); ++i) {
    own_alone.push_back(std::max(own[i] - bare[i], 1.0));
    lru_alone.push_back(lru[i] - bare[i]);
  }
  fmt::print("| {}, IPv{} | {} | {} | {} | {} | {} | {} | {} |\n", method.name,
             family == net::Family::kIpv4 ? 4 : 6, flows, spread(bare, 0), spread(own, 0),
             spread(lru, 0), spread(ratios(own, bare), 2), spread(ratios(lru, own), 2),
             spread(ratios(lru_alone, own_alone), 2));
  std::fflush(stdout);
}

void compare_inserting(std::uint32_t flows, int rounds) {
  std::vector<double> table;
  std::vector<double> map;
  for (int round = 0; round < rounds; ++round) {
    const auto times = measure_inserting(flows);
    table.push_back(times.table);
    map.push_back(times.map);
  }
  fmt::print("| {} | {} | {} | {} |\n", flows, spread(table, 0), spread(map, 0),
             spread(ratios(map, table), 1));
}

void run(int rounds, const std::vector<std::uint32_t>& counts) {
  auto* vary = ::vary_bpf__open_and_load();
  if (vary == nullptr) fail("cannot load the programs of the benchmark; run as root");
  fmt::print(
      "Nanoseconds a packet, the making of the packet (as long as \"bare\") included; median "
      "of {} rounds (lowest-highest).\n\n"
      "| | flows | bare XDP_TX | Sluice | LRU_HASH | Sluice / bare | LRU_HASH / Sluice | "
      "the same without \"bare\" |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
      rounds);
  for (const auto flows : counts) {
    for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
      for (const auto& method : kMethods) compare(*vary, method, family, flows, rounds);
    }
  }
  ::vary_bpf__destroy(vary);
  fmt::print(
      "\n| flows | publishing one, ns | bpf_map_update_elem, LRU_HASH, ns | ratio |\n"
      "| ---: | ---: | ---: | ---: |\n");
  for (const auto flows : counts) {
    if (flows > 1) compare_inserting(flows, rounds);
  }
}

}  // namespace
}  // namespace lb::bench

int main(int argc, char** argv) {
  const std::span words(argv, static_cast<std::size_t>(argc));
  const int rounds = words.size() > 1 ? std::atoi(words[1]) : 5;
  std::vector<std::uint32_t> counts;
  for (std::size_t i = 2; i < words.size(); ++i) {
    counts.push_back(static_cast<std::uint32_t>(std::strtoul(words[i], nullptr, 10)));
  }
  if (rounds == 1) lb::bench::repeat /= 100;
  if (counts.empty()) counts = {1U, 1U << 16U, 1U << 20U};
  const bool are_powers = std::all_of(counts.begin(), counts.end(), [](std::uint32_t count) {
    return count != 0 && (count & (count - 1)) == 0;
  });
  if (rounds < 1 || !are_powers) {
    lb::bench::fail("usage: sluice_xdp_bench [ROUNDS [FLOWS...]]; flows are powers of two");
  }
  lb::bench::run(rounds, counts);
}
