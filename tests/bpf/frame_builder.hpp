// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/address.hpp"

namespace lb::tests {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kIpv4 = 0x0800;
constexpr std::uint32_t kIpv6 = 0x86dd;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kEsp = 50;
constexpr std::uint8_t kIcmpv6 = 58;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Bytes be16(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

inline Bytes address_bytes(std::string_view text) {
  const auto address = net::IpAddress::from_text(text).value();
  return {address.bytes().begin(),
          address.bytes().begin() + static_cast<std::ptrdiff_t>(address.size())};
}

inline Bytes ethernet(std::uint32_t type, const Bytes& payload) {
  return Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2} + be16(type) + payload;
}

/// A tag between the addresses of `frame` and its type.
inline Bytes tagged(const Bytes& frame, std::uint32_t tag_type = 0x8100) {
  const Bytes addresses(frame.begin(), frame.begin() + 12);
  const Bytes rest(frame.begin() + 12, frame.end());
  return addresses + be16(tag_type) + be16(7) + rest;
}

/// `fragment`: the flags and offset word. `options`: a multiple of 4 bytes.
inline Bytes ipv4(std::string_view source, std::string_view destination, std::uint8_t protocol,
                  const Bytes& payload, std::uint32_t fragment = 0, const Bytes& options = {}) {
  const auto words = static_cast<std::uint8_t>(5 + options.size() / 4);
  Bytes header = Bytes{static_cast<std::uint8_t>(0x40 + words), 0} +
                 be16(static_cast<std::uint32_t>(words * 4U + payload.size())) + be16(1) +
                 be16(fragment) + Bytes{64, protocol, 0, 0} + address_bytes(source) +
                 address_bytes(destination) + options;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < header.size(); i += 2) {
    sum += static_cast<std::uint32_t>(header[i] << 8) + header[i + 1];
  }
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  header[10] = static_cast<std::uint8_t>(~sum >> 8);
  header[11] = static_cast<std::uint8_t>(~sum);
  return header + payload;
}

inline Bytes ipv6(std::string_view source, std::string_view destination, std::uint8_t next,
                  const Bytes& payload) {
  return Bytes{0x60, 0, 0, 0} + be16(static_cast<std::uint32_t>(payload.size())) + Bytes{next, 64} +
         address_bytes(source) + address_bytes(destination) + payload;
}

inline Bytes frame4(std::string_view from, std::string_view to, std::uint8_t protocol,
                    const Bytes& payload, std::uint32_t fragment = 0) {
  return ethernet(kIpv4, ipv4(from, to, protocol, payload, fragment));
}

inline Bytes frame6(std::string_view from, std::string_view to, std::uint8_t next,
                    const Bytes& payload) {
  return ethernet(kIpv6, ipv6(from, to, next, payload));
}

/// Hop-by-hop, routing or destination options header of 8 bytes.
inline Bytes extension(std::uint8_t next, const Bytes& payload) {
  return Bytes{next, 0, 1, 4, 0, 0, 0, 0} + payload;
}

/// `offset` in units of 8 bytes.
inline Bytes fragment_header(std::uint8_t next, std::uint32_t offset, bool more,
                             const Bytes& payload) {
  return Bytes{next, 0} + be16(offset << 3 | (more ? 1 : 0)) + Bytes{0, 0, 0, 1} + payload;
}

/// The first bytes of TCP, UDP or SCTP with room for the longest of their headers.
inline Bytes ports(std::uint32_t source, std::uint32_t destination) {
  return be16(source) + be16(destination) + be16(24) + Bytes{0, 0, 0, 0, 0, 0, 0x50, 2} + Bytes(10);
}

inline Bytes icmp(std::uint8_t type, std::uint8_t code, const Bytes& payload) {
  return Bytes{type, code, 0, 0, 0, 0, 0, 0} + payload;
}

}  // namespace lb::tests
