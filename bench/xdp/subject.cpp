// SPDX-License-Identifier: Apache-2.0
#include "subject.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

namespace lb::bench {
namespace {

constexpr unsigned kServicePort = 80;
constexpr std::uint32_t kFirstClient4 = 0xc6120000;  // 198.18.0.0, RFC 2544
constexpr std::uint32_t kFirstClient6 = 0x00010000;  // 2001:db8:1::1:0

net::Endpoint server_of(net::Family family, unsigned port = 8080) {
  return family == net::Family::kIpv4 ? engine::test::server(1, port)
                                      : engine::test::server6(1, port);
}

}  // namespace

void fail(std::string_view what) {
  fmt::print(stderr, "sluice_xdp_bench: {}\n", what);
  std::exit(1);
}

std::uint32_t first_client(net::Family family) {
  return family == net::Family::kIpv4 ? kFirstClient4 : kFirstClient6;
}

net::Endpoint client_of(net::Family family, std::uint32_t flow) {
  const auto port = engine::test::port_of(1024 + (flow & 0x3fffU));
  const auto word = net::Be32::from_host(first_client(family) + (flow >> 14U));
  if (family == net::Family::kIpv4) return {net::IpAddress::v4(word), port};
  auto bytes = engine::test::ip("2001:db8:1::").bytes();
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[12 + i] = static_cast<std::uint8_t>(word.to_host() >> (24 - 8 * i));
  }
  return {net::IpAddress::v6(bytes), port};
}

net::Endpoint service_of(net::Family family) {
  return family == net::Family::kIpv4 ? engine::test::vip(kServicePort)
                                      : engine::test::vip6(kServicePort);
}

Subject::Subject(model::ForwardingMethod method, net::Family family, std::uint32_t flows)
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
  const auto service = service_of(family);
  const bool is_nat = method == model::ForwardingMethod::kMasquerade;
  const auto server = server_of(family, is_nat ? 8080 : kServicePort);
  (void)lab_.director.add_service(engine::test::service_at(service));
  (void)lab_.director.add_destination(engine::test::key_of(service),
                                      engine::test::to(server, method));
  lab_.director.advance(lab_.now);
  for (std::uint32_t flow = 0; flow < flows; ++flow) {
    const auto client = client_of(family, flow);
    lab_.process(engine::test::tcp(client, service, net::kTcpSyn));
    if (is_nat) lab_.process(engine::test::tcp(server, client, net::kTcpSyn | net::kTcpAck));
    lab_.process(engine::test::tcp(client, service, net::kTcpAck));
  }
  const auto status = lab_.director.fast_path_status();
  if (status.flows < flows) fmt::print("({} of {} flows published)\n", status.flows, flows);
}

Subject::~Subject() { lab_.director.stop_fast_path(); }

int Subject::program() const { return program_->xdp_program(); }

std::uint64_t Subject::forwarded() const { return program_->counters()[STEER_FORWARDED]; }

}  // namespace lb::bench
