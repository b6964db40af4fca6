// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/sequence_adjustment.hpp"
#include "net/address.hpp"

/// The messages by which directors tell each other of their connections: kernel IPVS's sync
/// protocol, versions 1 and 0.
///
/// A message is the payload of one UDP datagram. Version 1, big-endian: a header of 8 bytes (0,
/// sync id, size of all 16 bits, entries, 1, 0 16 bits), then entries of 36 bytes (IPv6: 72), each
/// with options behind it and starting at a multiple of 4. Version 0: a header of 4 bytes (entries,
/// sync id, size of all) and entries of 24 bytes, IPv4 only, without timeout and mark.
namespace lb::engine {

/// Flags of a connection as messages have them (IP_VS_CONN_F_* of linux/ip_vs.h).
enum SyncFlag : std::uint32_t {
  kSyncMethodMask = 0x0007,  ///< model::ForwardingMethod
  kSyncSynced = 0x0020,      ///< the sender has it by a message itself
  kSyncOneWay = 0x0080,
  kSyncInactive = 0x0100,
  kSyncAnswersShifted = 0x0200,   ///< sequence numbers of what the server says
  kSyncRequestsShifted = 0x0400,  ///< and of what the client says
  kSyncNoClientPort = 0x0800,
  kSyncTemplate = 0x1000,
};

/// A connection or template as a message carries it. Texts lie in the message.
struct SyncEntry {
  net::Protocol protocol = net::Protocol::kTcp;
  std::uint32_t flags = 0;  ///< SyncFlag bits
  std::uint16_t state = 0;
  net::Endpoint client;
  net::Endpoint virtual_end;
  net::Endpoint real_end;
  std::uint32_t fwmark = 0;
  std::uint32_t timeout_s = 0;                 ///< 0: what the state has (version 0)
  std::optional<SequenceShift> answers_shift;  ///< given if kSyncAnswersShifted
  std::string_view key_data;                   ///< of a template with a persistence engine
  std::string_view engine_name;
};

inline constexpr std::size_t kSyncHeaderV0 = 4;
inline constexpr std::size_t kSyncHeaderV1 = 8;
inline constexpr std::size_t kMaxSyncKeyData = 255;
inline constexpr std::size_t kMaxSyncEngineName = 16;
/// No entry that `write_sync_entry` makes is longer.
inline constexpr std::size_t kMaxSyncEntry =
    72 + 2 + 24 + 2 + kMaxSyncKeyData + 2 + kMaxSyncEngineName;

/// Bytes that the entry takes in a message of `version` (0 or 1), without padding before it.
[[nodiscard]] std::size_t sync_entry_size(const SyncEntry& entry, int version) noexcept;

/// Writes the entry into `room`, which has that size. Version 0 has no IPv6.
void write_sync_entry(const SyncEntry& entry, int version, std::span<std::byte> room) noexcept;

/// Reads the entries of a message, one by one. Total: any bytes may be given, nothing behind
/// them is looked at.
class SyncMessageReader {
 public:
  enum class Step : std::uint8_t {
    kEntry,    ///< one was read
    kSkipped,  ///< one that makes no sense or needs what is not known; others may follow
    kEnd,      ///< that was all
    kBroken,   ///< the rest cannot be read
  };

  explicit SyncMessageReader(std::span<const std::byte> message) noexcept;

  /// False if it is no message at all: too short, or not of the size that it says.
  [[nodiscard]] bool is_message() const noexcept { return is_message_; }
  [[nodiscard]] std::uint8_t sync_id() const noexcept;
  [[nodiscard]] int version() const noexcept { return version_; }
  /// The next entry. Its texts live as long as the message.
  [[nodiscard]] Step next(SyncEntry& entry) noexcept;

 private:
  [[nodiscard]] Step next_v0(SyncEntry& entry) noexcept;
  [[nodiscard]] Step next_v1(SyncEntry& entry) noexcept;

  std::span<const std::byte> message_;
  std::size_t at_ = 0;  // of the next entry
  unsigned left_ = 0;   // entries that the header promises
  int version_ = 0;
  bool is_message_ = false;
};

}  // namespace lb::engine
