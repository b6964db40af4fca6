// SPDX-License-Identifier: Apache-2.0
// What a packet of an established connection costs in the XDP program, by BPF_PROG_TEST_RUN: for
// each method with 1, 64 K and 1 M flows, beside a program that only swaps the addresses of the
// frame. Rounds of all take turns. Needs root.
//
//     sluice_xdp_bench [ROUNDS]
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "datapath/steer_program.hpp"
#include "engine/testing/lab.hpp"
#include "vary.skel.h"

namespace {

using namespace lb;
using engine::test::Lab;

constexpr std::uint32_t kFrame = 128;
constexpr std::uint32_t kFirstClient = 0xc6120000;  // 198.18.0.0, RFC 2544
constexpr std::uint32_t kRepeat = 1'000'000;
constexpr unsigned kServicePort = 80;

[[noreturn]] void fail(std::string_view what) {
  fmt::print(stderr, "{}\n", what);
  std::exit(1);
}

net::Endpoint client_of(std::uint32_t flow) {
  return {net::IpAddress::v4(net::Be32::from_host(kFirstClient + (flow >> 14U))),
          engine::test::port_of(1024 + (flow & 0x3fffU))};
}

/// A director with so many established connections by `method`, all published.
class Subject {
 public:
  Subject(model::ForwardingMethod method, std::uint32_t flows)
      : lab_({.connection_capacity = std::max(flows, 1024U), .missing_schedulers = {}}) {
    auto loaded = datapath::SteerProgram::load(65536, lab_.director.connection_capacity());
    if (!loaded) fail(loaded.error());
    program_ = std::move(*loaded);
    auto memory = program_->flow_memory();
    memory.time_origin = std::chrono::steady_clock::now().time_since_epoch() - lab_.now.since_start;
    lab_.director.start_fast_path(memory);
    for (const auto interface : {engine::test::kOutside, engine::test::kInside}) {
      const auto slot = static_cast<std::uint16_t>(interface);
      if (!program_->set_flow_device(slot, engine::test::kOutside)) fail("no device");
      lab_.director.add_fast_device(interface, slot, true);
    }
    lab_.network.add_route({.destination = engine::test::ip("198.18.0.0"),
                            .prefix_length = 15,
                            .via = engine::test::ip("192.0.2.254"),
                            .out = engine::test::kOutside,
                            .source = {}});
    const auto service = engine::test::vip(kServicePort);
    const bool is_nat = method == model::ForwardingMethod::kMasquerade;
    (void)lab_.director.add_service(engine::test::service_at(service));
    (void)lab_.director.add_destination(
        engine::test::key_of(service),
        engine::test::to(engine::test::server(1, is_nat ? 8080 : kServicePort), method));
    lab_.director.advance(lab_.now);
    for (std::uint32_t flow = 0; flow < flows; ++flow) {
      const auto client = client_of(flow);
      lab_.process(engine::test::tcp(client, service, net::kTcpSyn));
      if (is_nat) {
        lab_.process(
            engine::test::tcp(engine::test::server(1), client, net::kTcpSyn | net::kTcpAck));
      }
      lab_.process(engine::test::tcp(client, service, net::kTcpAck));
    }
    const auto status = lab_.director.fast_path_status();
    if (status.flows < flows) {
      fmt::print("({} of {} flows published)\n", status.flows, flows);
    }
  }
  ~Subject() { lab_.director.stop_fast_path(); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  [[nodiscard]] int program() const { return program_->xdp_program(); }
  [[nodiscard]] std::uint64_t forwarded() const { return program_->counters()[STEER_FORWARDED]; }

 private:
  Lab lab_;
  std::unique_ptr<datapath::SteerProgram> program_;
};

/// Nanoseconds a run of `program` on packets of `flows` flows.
double measure(vary_bpf& vary, int program, std::uint32_t flows) {
  const std::uint32_t key = 0;
  if (::bpf_map_update_elem(bpf_map__fd(vary.maps.under_test), &key, &program, BPF_ANY) != 0) {
    fail("cannot set the program under test");
  }
  vary.bss->flow_mask = flows - 1;
  vary.bss->first_client = kFirstClient;
  const auto frame =
      engine::test::tcp(client_of(0), engine::test::vip(kServicePort), net::kTcpAck, kFrame - 54);
  if (::bpf_map_update_elem(bpf_map__fd(vary.maps.frames), &key, frame.data(), BPF_ANY) != 0) {
    fail("cannot set the frame");
  }
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = frame.data();
  options.data_size_in = kFrame;
  options.repeat = kRepeat;
  if (::bpf_prog_test_run_opts(bpf_program__fd(vary.progs.vary), &options) != 0) {
    fail("cannot run the program");
  }
  return options.duration;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  auto* vary = ::vary_bpf__open_and_load();
  if (vary == nullptr) fail("cannot load the programs of the benchmark; run as root");
  constexpr std::array kMethods{
      std::pair{model::ForwardingMethod::kMasquerade, "NAT"},
      std::pair{model::ForwardingMethod::kDirectRoute, "direct routing"},
      std::pair{model::ForwardingMethod::kTunnel, "tunnel (IPIP)"},
  };
  fmt::print(
      "nanoseconds a packet: median of {} rounds, lowest and highest; the frame is made anew "
      "for each packet, which is included everywhere\n\n",
      rounds);
  for (const std::uint32_t flows : {1U, 1U << 16U, 1U << 20U}) {
    std::map<std::string, std::vector<double>> results;
    std::map<std::string, std::unique_ptr<Subject>> subjects;
    for (const auto& [method, name] : kMethods) {
      subjects[name] = std::make_unique<Subject>(method, flows);
    }
    for (int round = 0; round < rounds; ++round) {
      results["bare XDP_TX"].push_back(measure(*vary, bpf_program__fd(vary->progs.bare), flows));
      for (const auto& [name, subject] : subjects) {
        const auto before = subject->forwarded();
        results[name].push_back(measure(*vary, subject->program(), flows));
        if (subject->forwarded() - before < kRepeat * 99ULL / 100) {
          fail(fmt::format("{}: only {} of {} packets were forwarded", name,
                           subject->forwarded() - before, kRepeat));
        }
      }
    }
    for (auto& [name, times] : results) {
      std::sort(times.begin(), times.end());
      fmt::print("{:>8} flows  {:<16} {:6.0f}  ({:.0f} - {:.0f})\n", flows, name,
                 times[times.size() / 2], times.front(), times.back());
    }
  }
  ::vary_bpf__destroy(vary);
}
