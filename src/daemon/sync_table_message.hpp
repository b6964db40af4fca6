// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/address.hpp"

/// The messages by which a backup asks a master for all of its connections: UDP from director to
/// director, each authenticated by HMAC-SHA256 (RFC 2104, FIPS 180-4) under a key that both have.
///
/// Big-endian: "SLTB", version 1, type, 0 16 bits, instance 64, client nonce 128, server nonce 128,
/// number 64, first 32, second 32, payload, tag of all before it 256. A backup says hello with a
/// nonce; the master's welcome adds one of its own. Every question then carries both and a number
/// above the one before, and every answer the number of its question: nothing that was recorded
/// once is taken for new, on either side. The instance is the sender's, so that nobody takes his
/// own messages, sent back, for those of another.
namespace lb::daemon {

enum class TableMessageType : std::uint8_t {
  kHello = 1,    ///< from the backup
  kWelcome = 2,  ///< from the master
  kAsk = 3,      ///< from the backup. first: cursor, second: parts wanted; 0: the state instead
  kPart = 4,     ///< from the master. first: cursor, second: the next; payload: a sync message
  kState = 5,    ///< from the master. payload: see TableState
};

using TableNonce = std::array<std::uint8_t, 16>;

struct TableMessage {
  TableMessageType type = TableMessageType::kHello;
  std::uint64_t instance = 0;
  TableNonce client{};
  TableNonce server{};
  std::uint64_t number = 0;
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  std::span<const std::byte> payload;
};

inline constexpr std::size_t kTableHeader = 64;
inline constexpr std::size_t kTableTag = 32;
/// Fits the smallest MTU of IPv6 (1280) with its headers.
inline constexpr std::size_t kTablePayload = 1128;
inline constexpr std::size_t kTableMessage = kTableHeader + kTablePayload + kTableTag;

/// The key that directors share. Made of any bytes, at least `kLeast` of them.
class TableKey {
 public:
  static constexpr std::size_t kLeast = 16;
  static constexpr std::size_t kMost = 1024;
  explicit TableKey(std::span<const std::byte> secret);
  [[nodiscard]] std::array<std::uint8_t, kTableTag> tag(std::span<const std::byte> bytes) const;

 private:
  std::vector<std::uint8_t> secret_;
};

/// The message with its tag. The payload is at most `kTablePayload` long.
[[nodiscard]] std::vector<std::byte> write_table_message(const TableMessage& message,
                                                         const TableKey& key);
/// Total on any bytes; nothing if they are no message or its tag is wrong. The payload lies in
/// `bytes`.
[[nodiscard]] std::optional<TableMessage> read_table_message(std::span<const std::byte> bytes,
                                                             const TableKey& key);

/// What a master says of itself.
struct TableState {
  bool is_master = false;           ///< its master daemon runs
  std::uint64_t messages_sent = 0;  ///< sync messages since it started, also those that were lost
  net::IpAddress source;            ///< that they come from
};

inline constexpr std::size_t kTableStateSize = 26;
[[nodiscard]] std::array<std::byte, kTableStateSize> write_table_state(const TableState& state);
[[nodiscard]] std::optional<TableState> read_table_state(std::span<const std::byte> payload);

}  // namespace lb::daemon
