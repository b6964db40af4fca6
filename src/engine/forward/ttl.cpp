// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/ttl.hpp"

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

constexpr std::size_t kIpv4Size = 20;
constexpr std::size_t kIpv4Checksum = 10;

std::size_t byte_at(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  return std::to_integer<std::size_t>(bytes[offset]);
}

/// Adds `own` where the option at the start of `option` points. True if it did.
bool record_address(std::span<std::byte> option, std::size_t first_pointer,
                    const net::IpAddress& own) noexcept {
  const std::size_t pointer = byte_at(option, 2);  // counts from 1
  if (pointer < first_pointer || pointer + 3 > option.size()) return false;
  net::store(option, pointer - 1, own.word(0));
  option[2] = static_cast<std::byte>(pointer + 4);
  return true;
}

}  // namespace

bool decrement_ttl(std::span<std::byte> bytes, net::Headers& headers) noexcept {
  if (headers.ttl <= 1) return false;
  if (headers.family() == net::Family::kIpv6) {
    --headers.ttl;
    bytes[headers.ip_offset + std::size_t{7}] = static_cast<std::byte>(headers.ttl);
    return true;
  }
  const std::size_t at = headers.ip_offset + std::size_t{8};  // TTL and protocol are one word
  const auto old_word = net::load<net::Be16>(bytes, at);
  const auto new_word = net::Be16::from_host(static_cast<std::uint16_t>(old_word.to_host() - 256));
  net::ChecksumUpdate update;
  update.replace(old_word, new_word);
  net::store(bytes, at, new_word);
  net::store(bytes, at + 2, update.apply(net::load<net::Be16>(bytes, at + 2)));
  --headers.ttl;
  return true;
}

void record_ipv4_options(std::span<std::byte> bytes, const net::Headers& headers,
                         const net::IpAddress& own) noexcept {
  constexpr std::size_t kEnd = 0;
  constexpr std::size_t kNoOperation = 1;
  constexpr std::size_t kRecordRoute = 7;

  if (headers.family() != net::Family::kIpv4 || !own.is_v4()) return;
  const auto header = bytes.subspan(
      headers.ip_offset, static_cast<std::size_t>(headers.transport_offset - headers.ip_offset));
  bool changed = false;
  for (std::size_t at = kIpv4Size; at < header.size();) {
    const std::size_t kind = byte_at(header, at);
    if (kind == kEnd) break;
    if (kind == kNoOperation) {
      ++at;
      continue;
    }
    if (at + 2 > header.size()) break;
    const std::size_t size = byte_at(header, at + 1);
    if (size < 2 || size > header.size() - at) break;
    if (kind == kRecordRoute && size >= 3) {
      changed = record_address(header.subspan(at, size), 4, own) || changed;
    }
    at += size;
  }
  if (!changed) return;
  net::store(header, kIpv4Checksum, net::Be16());
  net::store(header, kIpv4Checksum, net::internet_checksum(header));
}

}  // namespace lb::engine
