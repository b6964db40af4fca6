// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/address.hpp"
#include "replay/case_file.hpp"

namespace lb::replay {

// Big-endian numbers and addresses, appended to a packet that is being built or written into it.

inline void put8(Bytes& bytes, unsigned value) {
  bytes.push_back(static_cast<std::byte>(value & 0xff));
}
inline void put16(Bytes& bytes, unsigned value) {
  put8(bytes, value >> 8);
  put8(bytes, value);
}
inline void put32(Bytes& bytes, std::uint32_t value) {
  put16(bytes, value >> 16);
  put16(bytes, value & 0xffff);
}
inline void put_at16(Bytes& bytes, std::size_t offset, unsigned value) {
  bytes[offset] = static_cast<std::byte>((value >> 8) & 0xff);
  bytes[offset + 1] = static_cast<std::byte>(value & 0xff);
}
inline void put_text(Bytes& bytes, std::string_view text) {
  for (const char c : text) put8(bytes, static_cast<unsigned char>(c));
}
inline void put_address(Bytes& bytes, const net::IpAddress& address) {
  for (std::size_t i = 0; i < address.size(); ++i) put8(bytes, address.bytes()[i]);
}
inline void put_mac(Bytes& bytes, const net::Mac& mac) {
  for (const auto byte : mac.bytes) put8(bytes, byte);
}
inline void put_bytes(Bytes& bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

}  // namespace lb::replay
