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

void write_ipv4(std::uint8_t* ip, const Route& route, std::uint32_t size) {
  ip[0] = 0x45;
  put16(ip + 2, size);
  ip[8] = 64;
  ip[9] = kUdp;
  if (::inet_pton(AF_INET, route.client.c_str(), ip + 12) != 1 ||
      ::inet_pton(AF_INET, route.service.c_str(), ip + 16) != 1) {
    fail("wrong address: " + route.client + " or " + route.service);
  }
}

void write_ipv6(std::uint8_t* ip, const Route& route, std::uint32_t size) {
  ip[0] = 0x60;
  put16(ip + 4, size - 40);
  ip[6] = kUdp;
  ip[7] = 64;
  if (::inet_pton(AF_INET6, route.client.c_str(), ip + 8) != 1 ||
      ::inet_pton(AF_INET6, route.service.c_str(), ip + 24) != 1) {
    fail("wrong address: " + route.client + " or " + route.service);
  }
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
  const bool is_ipv6 = route.service.find(':') != std::string::npos;
  const std::uint32_t transport = kEthernet + (is_ipv6 ? 40 : 20);
  plan.size = kFrame;
  plan.is_ipv6 = is_ipv6 ? 1 : 0;
  auto* frame = plan.frame;
  std::memcpy(frame, route.destination_mac.data(), 6);
  std::memcpy(frame + 6, route.source_mac.data(), 6);
  put16(frame + 12, is_ipv6 ? 0x86dd : 0x0800);
  auto* ip = frame + kEthernet;
  auto* udp = frame + transport;
  if (is_ipv6) {
    write_ipv6(ip, route, kFrame - kEthernet);
  } else {
    write_ipv4(ip, route, kFrame - kEthernet);
  }
  put16(udp + 2, route.port);
  put16(udp + 4, kFrame - transport);
  // What changes (the last word of the client's address, its port, the payload's head) is zero
  // here, the magic number excepted.
  auto* last_word = ip + (is_ipv6 ? 20 : 12);
  std::uint32_t first = 0;
  std::memcpy(&first, last_word, 4);
  plan.first_client = ntohl(first);
  std::memset(last_word, 0, 4);
  const std::uint32_t magic = TRAFFIC_MAGIC;
  std::memcpy(udp + 8, &magic, sizeof(magic));
  auto sum = add(0, ip + (is_ipv6 ? 8 : 12), is_ipv6 ? 32 : 8);
  sum = add(sum, udp, kFrame - transport);
  sum += htons(static_cast<std::uint16_t>(kFrame - transport)) + htons(kUdp);
  plan.base_sum = static_cast<std::uint32_t>(sum);
  return plan;
}

}  // namespace lb::bench
