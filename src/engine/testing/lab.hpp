// SPDX-License-Identifier: Apache-2.0
// A director between clients and real servers, for tests, fuzzing and benchmarks.
//
//   clients 198.51.100.0/24 ── 192.0.2.254 ── kOutside │ director │ kInside ── 10.0.0.0/16
//           2001:db8:1::/64 ── 2001:db8:2::fe                                 2001:db8:3::/64
//
// Virtual addresses are 192.0.2.10 and 2001:db8:2::10 (and others on the same links).
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/director.hpp"
#include "engine/testing/packet_builder.hpp"

namespace lb::engine::test {

inline constexpr InterfaceId kOutside{1};
inline constexpr InterfaceId kInside{2};
inline constexpr std::uint32_t kMtu = 1500;

inline net::Endpoint client(unsigned port = 40000) { return end("198.51.100.7", port); }
inline net::Endpoint client6(unsigned port = 40000) { return end("2001:db8:1::7", port); }
inline net::Endpoint vip(unsigned port = 80) { return end("192.0.2.10", port); }
inline net::Endpoint vip6(unsigned port = 80) { return end("2001:db8:2::10", port); }
/// Real server number `n`, 1..250.
inline net::Endpoint server(unsigned n, unsigned port = 8080) {
  return {net::IpAddress::v4(net::Be32::from_host(0x0a000000U + 1 + n)), port_of(port)};
}
inline net::Endpoint server6(unsigned n, unsigned port = 8080) {
  auto bytes = ip("2001:db8:3::").bytes();
  bytes[15] = static_cast<std::uint8_t>(1 + n);
  return {net::IpAddress::v6(bytes), port_of(port)};
}

/// Interfaces, addresses, routes and neighbours of the picture above.
inline void fill(NetworkView& network, unsigned servers = 16) {
  network.set_interface(
      {.id = kOutside, .name = "outside", .mac = {{2, 0, 0, 0, 0, 1}}, .mtu = kMtu});
  network.set_interface(
      {.id = kInside, .name = "inside", .mac = {{2, 0, 0, 0, 0, 2}}, .mtu = kMtu});
  network.add_address(kOutside, ip("192.0.2.1"), 24);
  network.add_address(kOutside, vip().address, 32);
  network.add_address(kOutside, ip("192.0.2.11"), 32);
  network.add_address(kOutside, ip("2001:db8:2::1"), 64);
  network.add_address(kOutside, vip6().address, 128);
  network.add_address(kInside, ip("10.0.0.1"), 16);
  network.add_address(kInside, ip("2001:db8:3::1"), 64);
  network.add_route({.destination = ip("198.51.100.0"),
                     .prefix_length = 24,
                     .via = ip("192.0.2.254"),
                     .out = kOutside,
                     .source = {}});
  network.add_route({.destination = ip("2001:db8:1::"),
                     .prefix_length = 64,
                     .via = ip("2001:db8:2::fe"),
                     .out = kOutside,
                     .source = {}});
  network.set_neighbour(kOutside, ip("192.0.2.254"), {{2, 0, 0, 0, 1, 0}});
  network.set_neighbour(kOutside, ip("2001:db8:2::fe"), {{2, 0, 0, 0, 1, 0}});
  for (unsigned n = 1; n <= servers; ++n) {
    const net::Mac mac{{2, 0, 0, 0, 2, static_cast<std::uint8_t>(n)}};
    network.set_neighbour(kInside, server(n).address, mac);
    network.set_neighbour(kInside, server6(n).address, mac);
  }
}

inline model::ServiceKey key_of(const net::Endpoint& virtual_end,
                                net::Protocol protocol = net::Protocol::kTcp) {
  return {.family = virtual_end.address.family(),
          .fwmark = 0,
          .protocol = protocol,
          .address = virtual_end.address,
          .port = virtual_end.port};
}

inline model::ServiceSpec service_at(const net::Endpoint& virtual_end,
                                     net::Protocol protocol = net::Protocol::kTcp,
                                     std::string_view scheduler = "rr") {
  model::ServiceSpec spec;
  spec.key = key_of(virtual_end, protocol);
  spec.scheduler = scheduler;
  if (spec.key.family == net::Family::kIpv6) spec.netmask = 128;
  return spec;
}

inline model::DestinationSpec to(
    const net::Endpoint& real_end,
    model::ForwardingMethod method = model::ForwardingMethod::kMasquerade,
    std::int32_t weight = 1) {
  model::DestinationSpec spec;
  spec.address = real_end.address;
  spec.port = real_end.port;
  spec.method = method;
  spec.weight = weight;
  return spec;
}

/// A buffer that a frame is received into, with headroom for tunnels.
class ReceiveBuffer {
 public:
  static constexpr std::size_t kHeadroom = 128;
  explicit ReceiveBuffer(std::size_t headroom = kHeadroom)
      : bytes_(headroom + 70000), headroom_(headroom) {}

  [[nodiscard]] net::Packet receive(std::span<const std::byte> frame) noexcept {
    std::copy(frame.begin(), frame.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(headroom_));
    return {bytes_, headroom_, frame.size()};
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t headroom_;
};

inline DirectorOptions small_options() {
  DirectorOptions options;
  options.connection_capacity = 64;
  return options;
}

/// A director with that network, and what became of the packet it was given last.
class Lab {
 public:
  explicit Lab(const DirectorOptions& options = small_options()) : director(options, network) {
    fill(network);
  }

  Verdict process(std::span<const std::byte> frame, InterfaceId ingress = kOutside,
                  std::uint32_t mark = 0) {
    outputs.clear();
    auto packet = buffer.receive(frame);
    packet.mark = mark;
    const auto verdict = director.process(packet, ingress, now, outputs);
    sent.clear();
    if (verdict.kind == Verdict::Kind::kSend || verdict.kind == Verdict::Kind::kResolve ||
        verdict.kind == Verdict::Kind::kHost) {
      const auto bytes = packet.bytes();
      sent.emplace_back(bytes.begin(), bytes.end());
    }
    for (const auto& output : outputs.frames()) {
      sent.emplace_back(output.frame.begin(), output.frame.end());
    }
    return verdict;
  }

  void pass(Duration duration) {
    now = now + duration;
    while (director.advance(now)) {
    }
  }

  [[nodiscard]] std::uint64_t dropped(DropReason reason) const {
    return director.counters().dropped[static_cast<std::size_t>(reason)];
  }

  [[nodiscard]] std::vector<model::ConnectionInfo> connections() const {
    std::vector<model::ConnectionInfo> all;
    std::optional<std::uint32_t> cursor = 0;
    while (cursor) cursor = director.list_connections(*cursor, 1000, all);
    return all;
  }

  NetworkView network;
  Director director;
  Outputs outputs;
  ReceiveBuffer buffer;
  Timestamp now{std::chrono::hours(1)};
  /// The processed packet, if it goes on, then what else left.
  std::vector<Frame> sent;
};

}  // namespace lb::engine::test
