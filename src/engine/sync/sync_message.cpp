// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_message.hpp"

#include <algorithm>
#include <array>

#include "net/bytes.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::Be32;

// Version 1. Offsets inside an entry; the three addresses follow each other.
constexpr std::size_t kProtocol = 1;
constexpr std::size_t kSizeField = 2;
constexpr std::size_t kFlags = 4;
constexpr std::size_t kState = 8;
constexpr std::size_t kPorts = 10;
constexpr std::size_t kMark = 16;
constexpr std::size_t kTimeout = 20;
constexpr std::size_t kAddresses = 24;
constexpr std::size_t kEntryV4 = 36;
constexpr std::size_t kEntryV6 = 72;
constexpr std::uint8_t kTypeIpv6 = 1;
constexpr std::uint16_t kSizeMask = 0x0fff;  // the bits above it are the entry's own version, 0

enum Option : std::uint8_t { kSequenceData = 1, kKeyData = 2, kEngineName = 3 };
constexpr std::uint8_t kMayBeIgnored = 0x40;
constexpr std::size_t kOptionHeader = 2;
constexpr std::size_t kSequenceSize = 24;     // two of (first number, bytes, bytes before)
constexpr std::size_t kAnswersSequence = 12;  // the second is that of the answers

// Version 0.
constexpr std::size_t kProtocolV0 = 1;
constexpr std::size_t kPortsV0 = 2;
constexpr std::size_t kAddressesV0 = 8;
constexpr std::size_t kFlagsV0 = 20;
constexpr std::size_t kStateV0 = 22;
constexpr std::size_t kEntryV0 = 24;

constexpr std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

void put_address(std::span<std::byte> out, std::size_t at, const net::IpAddress& address) {
  const auto bytes = std::as_bytes(std::span(address.bytes())).first(address.size());
  std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
}

net::IpAddress get_address(std::span<const std::byte> in, std::size_t at, bool is_v6) {
  if (!is_v6) return net::IpAddress::v4(net::load<Be32>(in, at));
  return net::IpAddress::v6(net::load<std::array<std::uint8_t, 16>>(in, at));
}

// Client, virtual and real end: three ports, three addresses.
void put_ends(std::span<std::byte> out, std::size_t ports, std::size_t addresses,
              const SyncEntry& entry) {
  const auto step = entry.client.address.size();
  for (const auto* end : {&entry.client, &entry.virtual_end, &entry.real_end}) {
    net::store(out, ports, end->port);
    put_address(out, addresses, end->address);
    ports += sizeof(net::Port);
    addresses += step;
  }
}

void get_ends(std::span<const std::byte> in, std::size_t ports, std::size_t addresses, bool is_v6,
              SyncEntry& entry) {
  const std::size_t step = is_v6 ? 16 : 4;
  for (auto* end : {&entry.client, &entry.virtual_end, &entry.real_end}) {
    end->port = net::load<net::Port>(in, ports);
    end->address = get_address(in, addresses, is_v6);
    ports += sizeof(net::Port);
    addresses += step;
  }
}

void put_text(std::span<std::byte>& room, Option type, std::string_view text) {
  net::store(room, 0, std::uint8_t{type});
  net::store(room, 1, static_cast<std::uint8_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  std::copy(bytes.begin(), bytes.end(), room.begin() + kOptionHeader);
  room = room.subspan(kOptionHeader + text.size());
}

SequenceShift get_shift_v1(std::span<const std::byte> data) {
  const auto word = [&](std::size_t index) {
    return net::load<Be32>(data, kAnswersSequence + 4 * index).to_host();
  };
  return {.position = word(0),
          .before = static_cast<std::int32_t>(word(2)),
          .after = static_cast<std::int32_t>(word(1))};
}

// An option that an entry may have once. False: it breaks the message.
bool take_option(std::uint8_t type, std::span<const std::byte> data, SyncEntry& entry,
                 bool& is_known) {
  const auto take_text = [&](std::string_view& text, std::size_t largest) {
    if (data.size() > largest || !text.empty()) return false;
    text = net::as_text(data);
    return true;
  };
  switch (type & ~unsigned{kMayBeIgnored}) {
    case kSequenceData:
      if (data.size() != kSequenceSize || entry.answers_shift) return false;
      entry.answers_shift = get_shift_v1(data);
      return true;
    case kKeyData:
      return take_text(entry.key_data, kMaxSyncKeyData);
    case kEngineName:
      return take_text(entry.engine_name, kMaxSyncEngineName);
    default:
      is_known = is_known && (type & kMayBeIgnored) != 0;
      return true;
  }
}

}  // namespace

std::size_t sync_entry_size(const SyncEntry& entry, int version) noexcept {
  const std::size_t shift = entry.answers_shift ? kSequenceSize : 0;
  if (version == 0) return kEntryV0 + shift;
  std::size_t size = entry.client.address.is_v4() ? kEntryV4 : kEntryV6;
  if (shift != 0) size += kOptionHeader + shift;
  if (!entry.key_data.empty()) {
    size += kOptionHeader + entry.key_data.size() + kOptionHeader + entry.engine_name.size();
  }
  return size;
}

void write_sync_entry(const SyncEntry& entry, int version, std::span<std::byte> room) noexcept {
  std::fill(room.begin(), room.end(), std::byte{0});
  const auto shift = entry.answers_shift.value_or(SequenceShift{});
  const std::array<std::uint32_t, 3> numbers{shift.position,
                                             static_cast<std::uint32_t>(shift.after),
                                             static_cast<std::uint32_t>(shift.before)};
  if (version == 0) {
    net::store(room, kProtocolV0, entry.protocol);
    put_ends(room, kPortsV0, kAddressesV0, entry);
    net::store(room, kFlagsV0, Be16::from_host(static_cast<std::uint16_t>(entry.flags)));
    net::store(room, kStateV0, Be16::from_host(entry.state));
    // This version has these numbers as the sender's processor has them.
    if (entry.answers_shift) net::store(room, kEntryV0 + kAnswersSequence, numbers);
    return;
  }
  const bool is_v4 = entry.client.address.is_v4();
  net::store(room, 0, is_v4 ? std::uint8_t{0} : kTypeIpv6);
  net::store(room, kProtocol, entry.protocol);
  net::store(room, kSizeField, Be16::from_host(static_cast<std::uint16_t>(room.size())));
  net::store(room, kFlags, Be32::from_host(entry.flags));
  net::store(room, kState, Be16::from_host(entry.state));
  net::store(room, kMark, Be32::from_host(entry.fwmark));
  net::store(room, kTimeout, Be32::from_host(entry.timeout_s));
  put_ends(room, kPorts, kAddresses, entry);
  auto options = room.subspan(is_v4 ? kEntryV4 : kEntryV6);
  if (entry.answers_shift) {
    net::store(options, 0, std::uint8_t{kSequenceData});
    net::store(options, 1, static_cast<std::uint8_t>(kSequenceSize));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      net::store(options, kOptionHeader + kAnswersSequence + 4 * i, Be32::from_host(numbers[i]));
    }
    options = options.subspan(kOptionHeader + kSequenceSize);
  }
  if (entry.key_data.empty()) return;
  put_text(options, kKeyData, entry.key_data);
  put_text(options, kEngineName, entry.engine_name);
}

SyncMessageReader::SyncMessageReader(std::span<const std::byte> message) noexcept
    : message_(message) {
  if (message.size() < kSyncHeaderV0) return;
  is_message_ = net::load<Be16>(message, 2).to_host() == message.size();
  const bool is_v1 = message.size() >= kSyncHeaderV1 && net::load<std::uint8_t>(message, 0) == 0 &&
                     net::load<std::uint8_t>(message, 5) == 1 &&
                     net::load<Be16>(message, 6).to_host() == 0;
  version_ = is_v1 ? 1 : 0;
  at_ = is_v1 ? kSyncHeaderV1 : kSyncHeaderV0;
  left_ = net::load<std::uint8_t>(message, is_v1 ? 4 : 0);
}

std::uint8_t SyncMessageReader::sync_id() const noexcept {
  return is_message_ ? net::load<std::uint8_t>(message_, 1) : std::uint8_t{0};
}

SyncMessageReader::Step SyncMessageReader::next(SyncEntry& entry) noexcept {
  if (!is_message_) return Step::kBroken;
  if (left_ == 0) return Step::kEnd;
  --left_;
  entry = {};
  const auto step = version_ == 1 ? next_v1(entry) : next_v0(entry);
  if (step == Step::kBroken) left_ = 0;
  return step;
}

SyncMessageReader::Step SyncMessageReader::next_v0(SyncEntry& entry) noexcept {
  if (!net::holds(message_, at_, kEntryV0)) return Step::kBroken;
  const auto bytes = message_.subspan(at_);
  at_ += kEntryV0;
  entry.protocol = net::load<net::Protocol>(bytes, kProtocolV0);
  entry.flags = net::load<Be16>(bytes, kFlagsV0).to_host();
  entry.state = net::load<Be16>(bytes, kStateV0).to_host();
  get_ends(bytes, kPortsV0, kAddressesV0, false, entry);
  if ((entry.flags & (kSyncAnswersShifted | kSyncRequestsShifted)) == 0) return Step::kEntry;
  if (!net::holds(message_, at_, kSequenceSize)) return Step::kBroken;
  const auto numbers =
      net::load<std::array<std::uint32_t, 3>>(message_.subspan(at_), kAnswersSequence);
  at_ += kSequenceSize;
  entry.answers_shift = SequenceShift{.position = numbers[0],
                                      .before = static_cast<std::int32_t>(numbers[2]),
                                      .after = static_cast<std::int32_t>(numbers[1])};
  return Step::kEntry;
}

SyncMessageReader::Step SyncMessageReader::next_v1(SyncEntry& entry) noexcept {
  if (!net::holds(message_, at_, kEntryV4)) return Step::kBroken;
  const auto size_field = net::load<Be16>(message_, at_ + kSizeField).to_host();
  const std::size_t size = size_field & kSizeMask;
  if (size != size_field || !net::holds(message_, at_, size)) return Step::kBroken;
  const auto bytes = message_.subspan(at_, size);
  at_ += padded(size);

  if (size < kEntryV4) return Step::kBroken;
  const auto type = net::load<std::uint8_t>(bytes, 0);
  const bool is_v6 = (type & kTypeIpv6) != 0;
  if (!is_v6 && type != 0) return Step::kBroken;
  const auto fixed = is_v6 ? kEntryV6 : kEntryV4;
  if (size < fixed) return Step::kBroken;
  entry.protocol = net::load<net::Protocol>(bytes, kProtocol);
  entry.flags = net::load<Be32>(bytes, kFlags).to_host();
  entry.state = net::load<Be16>(bytes, kState).to_host();
  entry.fwmark = net::load<Be32>(bytes, kMark).to_host();
  entry.timeout_s = net::load<Be32>(bytes, kTimeout).to_host();
  get_ends(bytes, kPorts, kAddresses, is_v6, entry);

  bool is_known = true;
  for (auto options = bytes.subspan(fixed); !options.empty();) {
    if (options.size() < kOptionHeader) return Step::kBroken;
    const std::size_t length = net::load<std::uint8_t>(options, 1);
    if (length == 0 || !net::holds(options, kOptionHeader, length)) return Step::kBroken;
    if (!take_option(net::load<std::uint8_t>(options, 0), options.subspan(kOptionHeader, length),
                     entry, is_known)) {
      return Step::kBroken;
    }
    options = options.subspan(kOptionHeader + length);
  }
  return is_known ? Step::kEntry : Step::kSkipped;
}

}  // namespace lb::engine
