// SPDX-License-Identifier: Apache-2.0
#include "daemon/sync_table_message.hpp"

#include <nettle/hmac.h>
#include <nettle/memops.h>

#include <algorithm>

#include "net/bytes.hpp"

namespace lb::daemon {
namespace {

constexpr std::uint32_t kMagic = 0x534c5442;  // "SLTB"
constexpr std::uint8_t kVersion = 1;

constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kTypeAt = 5;
constexpr std::size_t kReservedAt = 6;
constexpr std::size_t kInstanceAt = 8;
constexpr std::size_t kClientAt = 16;
constexpr std::size_t kServerAt = 32;
constexpr std::size_t kNumberAt = 48;
constexpr std::size_t kFirstAt = 56;
constexpr std::size_t kSecondAt = 60;

void put_word(std::span<std::byte> out, std::size_t at, std::uint64_t value) {
  net::store(out, at, net::Be32::from_host(static_cast<std::uint32_t>(value >> 32)));
  net::store(out, at + 4, net::Be32::from_host(static_cast<std::uint32_t>(value)));
}

std::uint64_t get_word(std::span<const std::byte> in, std::size_t at) {
  return std::uint64_t{net::load<net::Be32>(in, at).to_host()} << 32 |
         net::load<net::Be32>(in, at + 4).to_host();
}

}  // namespace

TableKey::TableKey(std::span<const std::byte> secret) : secret_(secret.size()) {
  std::transform(secret.begin(), secret.end(), secret_.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
}

std::array<std::uint8_t, kTableTag> TableKey::tag(std::span<const std::byte> bytes) const {
  hmac_sha256_ctx context;
  std::array<std::uint8_t, kTableTag> result{};
  hmac_sha256_set_key(&context, secret_.size(), secret_.data());
  // Bytes for a C library.
  hmac_sha256_update(&context, bytes.size(), reinterpret_cast<const std::uint8_t*>(bytes.data()));
  hmac_sha256_digest(&context, result.size(), result.data());
  return result;
}

std::vector<std::byte> write_table_message(const TableMessage& message, const TableKey& key) {
  const auto signed_size = kTableHeader + message.payload.size();
  std::vector<std::byte> bytes(signed_size + kTableTag);
  net::store(std::span(bytes), 0, net::Be32::from_host(kMagic));
  net::store(std::span(bytes), kVersionAt, kVersion);
  net::store(std::span(bytes), kTypeAt, static_cast<std::uint8_t>(message.type));
  put_word(bytes, kInstanceAt, message.instance);
  net::store(std::span(bytes), kClientAt, message.client);
  net::store(std::span(bytes), kServerAt, message.server);
  put_word(bytes, kNumberAt, message.number);
  net::store(std::span(bytes), kFirstAt, net::Be32::from_host(message.first));
  net::store(std::span(bytes), kSecondAt, net::Be32::from_host(message.second));
  std::copy(message.payload.begin(), message.payload.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(kTableHeader));
  net::store(std::span(bytes), signed_size, key.tag(std::span(bytes).first(signed_size)));
  return bytes;
}

std::optional<TableMessage> read_table_message(std::span<const std::byte> bytes,
                                               const TableKey& key) {
  if (bytes.size() < kTableHeader + kTableTag || bytes.size() > kTableMessage) return std::nullopt;
  if (net::load<net::Be32>(bytes, 0).to_host() != kMagic ||
      net::load<std::uint8_t>(bytes, kVersionAt) != kVersion ||
      net::load<net::Be16>(bytes, kReservedAt).to_host() != 0) {
    return std::nullopt;
  }
  const auto type = net::load<std::uint8_t>(bytes, kTypeAt);
  if (type < static_cast<std::uint8_t>(TableMessageType::kHello) ||
      type > static_cast<std::uint8_t>(TableMessageType::kState)) {
    return std::nullopt;
  }
  const auto content = bytes.first(bytes.size() - kTableTag);
  const auto expected = key.tag(content);
  const auto tag = net::load<std::array<std::uint8_t, kTableTag>>(bytes, content.size());
  if (memeql_sec(tag.data(), expected.data(), kTableTag) == 0) return std::nullopt;
  return TableMessage{.type = static_cast<TableMessageType>(type),
                      .instance = get_word(bytes, kInstanceAt),
                      .client = net::load<TableNonce>(bytes, kClientAt),
                      .server = net::load<TableNonce>(bytes, kServerAt),
                      .number = get_word(bytes, kNumberAt),
                      .first = net::load<net::Be32>(bytes, kFirstAt).to_host(),
                      .second = net::load<net::Be32>(bytes, kSecondAt).to_host(),
                      .payload = content.subspan(kTableHeader)};
}

std::array<std::byte, kTableStateSize> write_table_state(const TableState& state) {
  std::array<std::byte, kTableStateSize> bytes{};
  bytes[0] = state.is_master ? std::byte{1} : std::byte{0};
  bytes[1] = state.source.is_v4() ? std::byte{0} : std::byte{1};
  put_word(bytes, 2, state.messages_sent);
  net::store(std::span(bytes), 10, state.source.bytes());
  return bytes;
}

std::optional<TableState> read_table_state(std::span<const std::byte> payload) {
  if (payload.size() != kTableStateSize || payload[0] > std::byte{1} || payload[1] > std::byte{1}) {
    return std::nullopt;
  }
  const auto source = net::load<std::array<std::uint8_t, 16>>(payload, 10);
  return TableState{.is_master = payload[0] == std::byte{1},
                    .messages_sent = get_word(payload, 2),
                    .source = payload[1] == std::byte{1}
                                  ? net::IpAddress::v6(source)
                                  : net::IpAddress::v4(net::load<net::Be32>(payload, 10))};
}

}  // namespace lb::daemon
