// SPDX-License-Identifier: Apache-2.0
#include "frame.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

namespace lb::bench {
namespace {

constexpr std::uint32_t kFrame = 96;
constexpr std::uint32_t kEthernet = 14;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint32_t kTcpHeader = 24;  // with an option

/// Adds `size` bytes to a sum of 32-bit words as they lie in memory.
std::uint64_t add(std::uint64_t sum, const std::uint8_t* bytes, std::size_t size) {
  for (std::size_t at = 0; at < size; at += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, bytes + at, 2);
    sum += word;
  }
  return sum;
}

void put16(std::uint8_t* place, std::uint32_t value) {
  const auto wire = htons(static_cast<std::uint16_t>(value));
  std::memcpy(place, &wire, sizeof(wire));
}

bool is_ipv6(const Route& route) { return route.service.find(':') != std::string::npos; }

void write_ipv4(std::uint8_t* ip, const Route& route, std::uint8_t protocol, std::uint32_t size) {
  ip[0] = 0x45;
  put16(ip + 2, size);
  ip[8] = 64;
  ip[9] = protocol;
  if (::inet_pton(AF_INET, route.client.c_str(), ip + 12) != 1 ||
      ::inet_pton(AF_INET, route.service.c_str(), ip + 16) != 1) {
    fail("wrong address: " + route.client + " or " + route.service);
  }
}

void write_ipv6(std::uint8_t* ip, const Route& route, std::uint8_t protocol, std::uint32_t size) {
  ip[0] = 0x60;
  put16(ip + 4, size - 40);
  ip[6] = protocol;
  ip[7] = 64;
  if (::inet_pton(AF_INET6, route.client.c_str(), ip + 8) != 1 ||
      ::inet_pton(AF_INET6, route.service.c_str(), ip + 24) != 1) {
    fail("wrong address: " + route.client + " or " + route.service);
  }
}

/// Writes the link and IP headers of a frame; returns where they end.
std::uint32_t write_headers(std::uint8_t* frame, const Route& route, std::uint8_t protocol,
                            std::uint32_t size) {
  std::memcpy(frame, route.destination_mac.data(), 6);
  std::memcpy(frame + 6, route.source_mac.data(), 6);
  put16(frame + 12, is_ipv6(route) ? 0x86dd : 0x0800);
  if (is_ipv6(route)) {
    write_ipv6(frame + kEthernet, route, protocol, size - kEthernet);
    return kEthernet + 40;
  }
  write_ipv4(frame + kEthernet, route, protocol, size - kEthernet);
  return kEthernet + 20;
}

/// Takes the last word of the client's address out of a frame, and returns it.
std::uint32_t take_client(std::uint8_t* frame, const Route& route) {
  auto* last_word = frame + kEthernet + (is_ipv6(route) ? 20 : 12);
  std::uint32_t first = 0;
  std::memcpy(&first, last_word, 4);
  std::memset(last_word, 0, 4);
  return ntohl(first);
}

/// What the checksum of TCP or UDP is of; that of `frame` is 0.
std::uint32_t sum_of(const std::uint8_t* frame, const Route& route, std::uint32_t transport,
                     std::uint8_t protocol, std::uint32_t size) {
  auto sum = add(0, frame + kEthernet + (is_ipv6(route) ? 8 : 12), is_ipv6(route) ? 32 : 8);
  sum = add(sum, frame + transport, size - transport);
  sum += htons(static_cast<std::uint16_t>(size - transport)) + htons(protocol);
  return static_cast<std::uint32_t>(sum);
}

// Each sends SYNs once: half of the addresses of the benchmarks (RFC 2544) are theirs.
void write_syn(traffic_plan& plan, const Route& route) {
  auto* frame = plan.syn;
  plan.syn_size = kEthernet + (is_ipv6(route) ? 40 : 20) + kTcpHeader;
  const auto transport = write_headers(frame, route, kTcp, plan.syn_size);
  auto* tcp = frame + transport;
  put16(tcp + 2, route.port);
  const std::uint32_t magic = TRAFFIC_MAGIC;
  std::memcpy(tcp + 4, &magic, sizeof(magic));
  tcp[12] = kTcpHeader / 4 << 4;
  tcp[13] = 0x02;
  put16(tcp + 14, 64240);
  tcp[20] = 2;  // the largest segment
  tcp[21] = 4;
  put16(tcp + 22, 1440);
  plan.syn_client = take_client(frame, route) + (1U << 16);
  plan.syn_sum = sum_of(frame, route, transport, kTcp, plan.syn_size);
}

}  // namespace

void fail(const std::string& what, int error) {
  fmt::print(stderr, "sluice_traffic: {}{}{}\n", what, error != 0 ? ": " : "",
             error != 0 ? std::strerror(error) : "");
  std::exit(1);
}

std::array<std::uint8_t, 6> parse_mac(const std::string& text) {
  std::array<unsigned, 6> parts{};
  if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &parts[0], &parts[1], &parts[2], &parts[3],
                  &parts[4], &parts[5]) != 6) {
    fail("wrong hardware address: " + text);
  }
  std::array<std::uint8_t, 6> mac{};
  for (std::size_t i = 0; i < 6; ++i) mac[i] = static_cast<std::uint8_t>(parts[i]);
  return mac;
}

traffic_plan plan_for(const Route& route) {
  traffic_plan plan{};
  plan.size = kFrame;
  plan.is_ipv6 = is_ipv6(route) ? 1 : 0;
  const auto transport = write_headers(plan.frame, route, kUdp, kFrame);
  auto* udp = plan.frame + transport;
  put16(udp + 2, route.port);
  put16(udp + 4, kFrame - transport);
  // What changes (the last word of the client's address, its port, the payload's head) is zero
  // here, the magic number excepted.
  plan.first_client = take_client(plan.frame, route);
  const std::uint32_t magic = TRAFFIC_MAGIC;
  std::memcpy(udp + 8, &magic, sizeof(magic));
  plan.base_sum = sum_of(plan.frame, route, transport, kUdp, kFrame);
  write_syn(plan, route);
  return plan;
}

}  // namespace lb::bench
