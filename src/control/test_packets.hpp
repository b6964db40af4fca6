// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "net/byte_order.hpp"
#include "net/bytes.hpp"
#include "wire/recorded_messages.hpp"

namespace lb::control {

/// An Ethernet frame with a TCP SYN from 198.51.100.7:`port` to 192.0.2.10:80.
inline std::vector<std::byte> syn_from(std::uint16_t port) {
  auto bytes = wire::from_hex(
      "020000000101"
      "0200000001fe"
      "0800"  // to the director's port
      "45000028"
      "00014000"
      "40060000"
      "c6336407"
      "c000020a"
      "00000050"
      "000003e8"
      "00000000"
      "5002faf0"
      "00000000");
  const auto store = [&](std::size_t offset, std::uint16_t value) {
    net::store(bytes, offset, net::Be16::from_host(value).to_network());
  };
  constexpr std::size_t kIp = 14;
  constexpr std::size_t kTcp = kIp + 20;
  store(kTcp, port);
  const auto sum = [&](std::size_t begin, std::size_t end, std::uint32_t start) {
    for (auto at = begin; at < end; at += 2) {
      start += net::Be16::from_network(net::load<std::uint16_t>(bytes, at)).to_host();
    }
    while (start > 0xffff) start = (start & 0xffff) + (start >> 16);
    return static_cast<std::uint16_t>(~start);
  };
  store(kIp + 10, sum(kIp, kTcp, 0));
  constexpr std::uint32_t kPseudoHeader = 6 + 20;  // protocol and length
  store(kTcp + 16, sum(kIp + 12, bytes.size(), kPseudoHeader));
  return bytes;
}

}  // namespace lb::control
