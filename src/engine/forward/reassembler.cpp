// SPDX-License-Identifier: Apache-2.0
#include "engine/forward/reassembler.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <tl/expected.hpp>
#include <vector>

#include "net/bytes.hpp"
#include "net/checksum.hpp"

namespace lb::engine {
namespace {

using net::Be16;
using net::Be32;
using net::Family;
using Outcome = Reassembler::Outcome;

constexpr std::uint32_t kNone = 0xffffffff;
constexpr std::size_t kBlockSize = 2048;
constexpr std::size_t kHeadSize = 320;
constexpr std::size_t kLargestIp = 65535;
constexpr std::size_t kIpv6Size = 40;
constexpr std::array<Duration, 2> kTimeouts{std::chrono::seconds(30), std::chrono::seconds(60)};

/// A piece of data: where it belongs in the packet.
struct Block {
  std::uint32_t next = kNone;
  std::uint16_t offset = 0;
  std::uint16_t size = 0;
  bool starts_fragment = false;
  [[nodiscard]] std::size_t end() const noexcept { return std::size_t{offset} + size; }
};

struct Key {
  net::IpAddress source;
  net::IpAddress destination;
  std::uint32_t identification = 0;
  net::Protocol protocol = net::Protocol::kIp;  // IPv4 only: IPv6 fragments differ by id alone
  friend bool operator==(const Key&, const Key&) = default;
};

/// A packet under way.
struct Partial {
  Key key;
  std::uint32_t hash = 0;
  std::uint32_t chain = kNone;  // next of the same hash; next free one
  std::uint32_t older = kNone;  // in the order of arrival
  std::uint32_t newer = kNone;
  Timestamp started{};
  std::uint32_t first = kNone;  // blocks by offset
  std::uint32_t last = kNone;
  std::uint32_t fragments = 0;
  std::uint32_t received = 0;
  std::uint32_t reach = 0;  // largest end seen; the size of all data once `has_last`
  std::uint16_t largest = 0;
  std::uint16_t largest_unfragmentable = 0;  // largest with DF
  std::uint8_t congestion = 0;               // bit n: a fragment had ECN codepoint n
  bool has_last = false;
  std::uint16_t head_size = 0;  // 0: the first fragment is not here
  std::uint16_t ip_offset = 0;
  std::uint8_t next_header = 0;          // IPv6: what follows the fragment header
  std::uint16_t next_header_offset = 0;  // IPv6: the byte that named the fragment header
  std::array<std::byte, kHeadSize> head;
};

std::size_t family_index(Family family) noexcept { return family == Family::kIpv4 ? 0 : 1; }

/// What a fragment brings.
struct Piece {
  Key key;
  std::size_t begin = 0;  // of its data in the packet
  std::size_t end = 0;
  std::size_t data_at = 0;  // in the frame
  bool is_last = false;
  [[nodiscard]] std::size_t size() const noexcept { return end - begin; }
};

tl::expected<Piece, DropReason> piece_of(std::span<const std::byte> frame,
                                         const net::Headers& headers) noexcept {
  const bool is_v4 = headers.family() == Family::kIpv4;
  Piece piece{.key = {headers.source, headers.destination, 0, net::Protocol::kIp},
              .begin = headers.fragment_offset,
              .is_last = !headers.more_fragments};
  piece.data_at =
      is_v4 ? headers.transport_offset : headers.fragment_header_offset + std::size_t{8};
  piece.end = piece.begin + headers.end - piece.data_at;
  // All but the last carry whole units of eight bytes; IPv4 is cut to that, as the kernel does.
  if (headers.more_fragments && piece.end % 8 != 0) {
    if (!is_v4) return tl::unexpected(DropReason::kBadHeader);
    piece.end &= ~std::size_t{7};
  }
  if (piece.end <= piece.begin || piece.end > kLargestIp) {
    return tl::unexpected(DropReason::kBadHeader);
  }
  const std::size_t head_size = is_v4 ? headers.transport_offset : headers.fragment_header_offset;
  if (piece.begin == 0 && head_size > kHeadSize) return tl::unexpected(DropReason::kUnsupported);
  if (is_v4) {
    piece.key.identification = net::load<Be16>(frame, headers.ip_offset + std::size_t{4}).to_host();
    piece.key.protocol = headers.protocol;
  } else {
    piece.key.identification =
        net::load<Be32>(frame, headers.fragment_header_offset + std::size_t{4}).to_host();
  }
  return piece;
}

/// True if the piece and those before it say different things of where the packet ends.
bool contradicts(const Partial& partial, const Piece& piece) noexcept {
  if (!partial.has_last) return piece.is_last && piece.end < partial.reach;
  return piece.is_last ? piece.end != partial.reach : piece.end > partial.reach;
}

/// The byte of an IPv6 header chain that names the fragment header.
std::size_t naming_offset(std::span<const std::byte> frame, const net::Headers& headers) noexcept {
  std::size_t named_at = headers.ip_offset + std::size_t{6};
  std::size_t at = headers.ip_offset + kIpv6Size;
  while (at < headers.fragment_header_offset) {
    named_at = at;
    at += (std::to_integer<std::size_t>(frame[at + 1]) + 1) * 8;
  }
  return named_at;
}

/// ECN of the whole (RFC 3168, 5.3): CE if any fragment had it; null if not-ECT is mixed with
/// others, which is to be dropped.
bool congestion_agrees(std::uint8_t seen) noexcept { return (seen & 1U) == 0 || seen == 1; }
bool congestion_experienced(std::uint8_t seen) noexcept { return (seen & 8U) != 0; }

}  // namespace

struct Reassembler::State {
  State(const Limits& limits, std::uint64_t key);

  std::uint64_t hash_key;
  std::vector<Block> blocks;
  std::unique_ptr<std::byte[]> data;
  std::uint32_t free_block = 0;
  std::uint32_t free_blocks = 0;
  std::vector<Partial> partials;
  std::uint32_t free_partial = 0;
  std::vector<std::uint32_t> buckets;
  std::array<std::uint32_t, 2> oldest{kNone, kNone};  // by family: their timeouts differ
  std::array<std::uint32_t, 2> newest{kNone, kNone};
  std::uint32_t waiting = 0;
  std::array<std::uint16_t, kMaxFragments> shape{};

  [[nodiscard]] std::uint32_t hash(const Key& key) const noexcept;
  [[nodiscard]] std::uint32_t find(const Key& key, std::uint32_t hashed) const noexcept;
  std::uint32_t create(const Key& key, std::uint32_t hashed, Timestamp now,
                       std::uint32_t& given_up) noexcept;
  void give_up(std::uint32_t index) noexcept;
  bool give_up_oldest(std::uint32_t except) noexcept;

  enum class Fit { kNew, kRepeated, kOverlaps };
  [[nodiscard]] Fit fit(const Partial& partial, std::size_t begin, std::size_t end) const noexcept;
  void store(Partial& partial, std::size_t begin, std::span<const std::byte> bytes) noexcept;
  void keep_head(Partial& partial, std::span<const std::byte> frame,
                 const net::Headers& headers) noexcept;
  /// Puts a piece that fits to its packet; there is room.
  void take(Partial& partial, const Piece& piece, std::span<const std::byte> frame,
            const net::Headers& headers) noexcept;
  [[nodiscard]] std::size_t write(Partial& partial, std::span<std::byte> out) noexcept;
  Outcome drop(std::uint32_t index, DropReason reason, std::uint32_t given_up) noexcept {
    give_up(index);
    return {.kind = Outcome::Kind::kDropped, .reason = reason, .given_up = given_up, .shape = {}};
  }
};

Reassembler::State::State(const Limits& limits, std::uint64_t key)
    : hash_key(key),
      blocks(limits.blocks),
      data(new std::byte[limits.blocks * kBlockSize]),
      free_blocks(limits.blocks),
      partials(std::max<std::uint32_t>(limits.packets, 1)),
      buckets(std::bit_ceil(partials.size()), kNone) {
  for (std::uint32_t i = 0; i < limits.blocks; ++i) {
    blocks[i].next = i + 1 < limits.blocks ? i + 1 : kNone;
  }
  if (limits.blocks == 0) free_block = kNone;
  for (std::uint32_t i = 0; i < partials.size(); ++i) {
    partials[i].chain = i + 1 < partials.size() ? i + 1 : kNone;
  }
}

std::uint32_t Reassembler::State::hash(const Key& key) const noexcept {
  const auto from = std::bit_cast<std::array<std::uint64_t, 2>>(key.source.bytes());
  const auto to = std::bit_cast<std::array<std::uint64_t, 2>>(key.destination.bytes());
  std::uint64_t value = hash_key ^ key.identification;
  for (const std::uint64_t word :
       {from[0], from[1], to[0], to[1], static_cast<std::uint64_t>(key.protocol)}) {
    value = (value ^ word) * 0x9e3779b97f4a7c15U;
    value ^= value >> 29U;
  }
  return static_cast<std::uint32_t>(value >> 32U) ^ static_cast<std::uint32_t>(value);
}

std::uint32_t Reassembler::State::find(const Key& key, std::uint32_t hashed) const noexcept {
  std::uint32_t index = buckets[hashed & (buckets.size() - 1)];
  while (index != kNone && !(partials[index].key == key)) index = partials[index].chain;
  return index;
}

std::uint32_t Reassembler::State::create(const Key& key, std::uint32_t hashed, Timestamp now,
                                         std::uint32_t& given_up) noexcept {
  if (free_partial == kNone && give_up_oldest(kNone)) ++given_up;
  const std::uint32_t index = free_partial;
  Partial& partial = partials[index];
  free_partial = partial.chain;

  partial.key = key;
  partial.hash = hashed;
  auto& bucket = buckets[hashed & (buckets.size() - 1)];
  partial.chain = bucket;
  bucket = index;
  const std::size_t f = family_index(key.source.family());
  partial.older = newest[f];
  partial.newer = kNone;
  (newest[f] == kNone ? oldest[f] : partials[newest[f]].newer) = index;
  newest[f] = index;
  partial.started = now;
  partial.first = partial.last = kNone;
  partial.fragments = partial.received = partial.reach = 0;
  partial.largest = partial.largest_unfragmentable = 0;
  partial.congestion = 0;
  partial.has_last = false;
  partial.head_size = 0;
  ++waiting;
  return index;
}

void Reassembler::State::give_up(std::uint32_t index) noexcept {
  Partial& partial = partials[index];
  for (std::uint32_t block = partial.first; block != kNone;) {
    const std::uint32_t next = blocks[block].next;
    blocks[block].next = free_block;
    free_block = block;
    ++free_blocks;
    block = next;
  }
  std::uint32_t* link = &buckets[partial.hash & (buckets.size() - 1)];
  while (*link != index) link = &partials[*link].chain;
  *link = partial.chain;

  const std::size_t f = family_index(partial.key.source.family());
  (partial.older == kNone ? oldest[f] : partials[partial.older].newer) = partial.newer;
  (partial.newer == kNone ? newest[f] : partials[partial.newer].older) = partial.older;
  partial.chain = free_partial;
  free_partial = index;
  --waiting;
}

bool Reassembler::State::give_up_oldest(std::uint32_t except) noexcept {
  std::uint32_t victim = kNone;
  for (std::uint32_t index : oldest) {
    if (index != kNone && index == except) index = partials[index].newer;
    if (index == kNone) continue;
    if (victim == kNone || partials[index].started < partials[victim].started) victim = index;
  }
  if (victim == kNone) return false;
  give_up(victim);
  return true;
}

Reassembler::State::Fit Reassembler::State::fit(const Partial& partial, std::size_t begin,
                                                std::size_t end) const noexcept {
  if (partial.last == kNone || begin >= blocks[partial.last].end()) return Fit::kNew;
  std::uint32_t index = partial.first;
  while (blocks[index].end() <= begin) index = blocks[index].next;
  if (blocks[index].offset >= end) return Fit::kNew;
  std::size_t covered = begin;
  for (; index != kNone && covered < end && blocks[index].offset <= covered;
       index = blocks[index].next) {
    covered = blocks[index].end();
  }
  return covered >= end ? Fit::kRepeated : Fit::kOverlaps;
}

void Reassembler::State::store(Partial& partial, std::size_t begin,
                               std::span<const std::byte> bytes) noexcept {
  std::uint32_t before = partial.last;
  if (before != kNone && blocks[before].offset > begin) {
    before = kNone;
    for (std::uint32_t index = partial.first; blocks[index].offset < begin;
         index = blocks[index].next) {
      before = index;
    }
  }
  bool is_start = true;
  for (std::size_t at = 0; at < bytes.size(); is_start = false) {
    const std::size_t size = std::min(kBlockSize, bytes.size() - at);
    const std::uint32_t index = free_block;
    Block& block = blocks[index];
    free_block = block.next;
    --free_blocks;
    block.offset = static_cast<std::uint16_t>(begin + at);
    block.size = static_cast<std::uint16_t>(size);
    block.starts_fragment = is_start;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), size,
                data.get() + index * kBlockSize);
    std::uint32_t& link = before == kNone ? partial.first : blocks[before].next;
    block.next = link;
    link = index;
    if (block.next == kNone) partial.last = index;
    before = index;
    at += size;
  }
  ++partial.fragments;
  partial.received += static_cast<std::uint32_t>(bytes.size());
}

void Reassembler::State::keep_head(Partial& partial, std::span<const std::byte> frame,
                                   const net::Headers& headers) noexcept {
  const bool is_v4 = headers.family() == Family::kIpv4;
  const std::size_t size = is_v4 ? headers.transport_offset : headers.fragment_header_offset;
  std::copy_n(frame.begin(), size, partial.head.begin());
  partial.head_size = static_cast<std::uint16_t>(size);
  partial.ip_offset = headers.ip_offset;
  if (is_v4) return;
  partial.next_header = std::to_integer<std::uint8_t>(frame[headers.fragment_header_offset]);
  partial.next_header_offset = static_cast<std::uint16_t>(naming_offset(frame, headers));
}

std::size_t Reassembler::State::write(Partial& partial, std::span<std::byte> out) noexcept {
  const std::size_t size = partial.head_size + std::size_t{partial.reach};
  const std::size_t ip_size = size - partial.ip_offset;
  const bool is_v4 = partial.key.source.is_v4();
  if (size > out.size() || ip_size > kLargestIp + (is_v4 ? 0 : kIpv6Size)) return 0;

  std::copy_n(partial.head.begin(), partial.head_size, out.begin());
  std::size_t fragments = 0;
  for (std::uint32_t index = partial.first; index != kNone; index = blocks[index].next) {
    const Block& block = blocks[index];
    std::copy_n(data.get() + index * kBlockSize, block.size,
                out.begin() + partial.head_size + block.offset);
    if (block.starts_fragment) {
      shape[fragments++] = block.size;
    } else {
      shape[fragments - 1] = static_cast<std::uint16_t>(shape[fragments - 1] + block.size);
    }
  }
  const auto ip = out.subspan(partial.ip_offset);
  const bool marked = congestion_experienced(partial.congestion);
  if (is_v4) {
    constexpr std::uint16_t kDontFragment = 0x4000;
    const bool keeps_df = partial.largest_unfragmentable == partial.largest;
    if (marked) ip[1] |= std::byte{3};
    net::store(ip, 2, Be16::from_host(static_cast<std::uint16_t>(ip_size)));
    net::store(ip, 6, Be16::from_host(keeps_df ? kDontFragment : 0));
    net::store(ip, 10, Be16());
    net::store(ip, 10,
               net::internet_checksum(
                   ip.first(static_cast<std::size_t>(partial.head_size - partial.ip_offset))));
  } else {
    if (marked) ip[1] |= std::byte{0x30};
    net::store(ip, 4, Be16::from_host(static_cast<std::uint16_t>(ip_size - kIpv6Size)));
    out[partial.next_header_offset] = std::byte{partial.next_header};
  }
  return size;
}

void Reassembler::State::take(Partial& partial, const Piece& piece,
                              std::span<const std::byte> frame,
                              const net::Headers& headers) noexcept {
  store(partial, piece.begin, frame.subspan(piece.data_at, piece.size()));
  if (piece.begin == 0) keep_head(partial, frame, headers);
  partial.has_last = partial.has_last || piece.is_last;
  partial.reach = std::max(partial.reach, static_cast<std::uint32_t>(piece.end));
  partial.congestion |= static_cast<std::uint8_t>(1U << (headers.tos & 3U));
  const auto size = static_cast<std::uint16_t>(std::min(headers.ip_size(), kLargestIp));
  partial.largest = std::max(partial.largest, size);
  if (headers.family() == Family::kIpv4 && headers.dont_fragment) {
    partial.largest_unfragmentable = std::max(partial.largest_unfragmentable, size);
  }
}

Reassembler::Reassembler(const Limits& limits, std::uint64_t hash_key)
    : state_(std::make_unique<State>(limits, hash_key)) {}
Reassembler::~Reassembler() = default;

Outcome Reassembler::add(std::span<const std::byte> frame, const net::Headers& headers,
                         Timestamp now, std::span<std::byte> out) noexcept {
  State& state = *state_;
  const auto piece = piece_of(frame, headers);
  if (!piece) return {.kind = Outcome::Kind::kDropped, .reason = piece.error(), .shape = {}};
  const std::uint32_t hashed = state.hash(piece->key);
  std::uint32_t index = state.find(piece->key, hashed);
  std::uint32_t given_up = 0;
  if (index == kNone) index = state.create(piece->key, hashed, now, given_up);
  Partial& partial = state.partials[index];

  if (contradicts(partial, *piece)) return state.drop(index, DropReason::kBadHeader, given_up);
  switch (state.fit(partial, piece->begin, piece->end)) {
    case State::Fit::kRepeated:
      return {.kind = Outcome::Kind::kHeld, .given_up = given_up, .shape = {}};
    case State::Fit::kOverlaps:
      return state.drop(index, DropReason::kFragmentOverlap, given_up);
    case State::Fit::kNew:
      break;
  }

  const std::size_t needed = (piece->size() + kBlockSize - 1) / kBlockSize;
  while (state.free_blocks < needed && state.give_up_oldest(index)) ++given_up;
  if (state.free_blocks < needed || partial.fragments == kMaxFragments) {
    return state.drop(index, DropReason::kFragmentMemory, given_up);
  }
  state.take(partial, *piece, frame, headers);
  if (!partial.has_last || partial.received != partial.reach) {
    return {.kind = Outcome::Kind::kHeld, .given_up = given_up, .shape = {}};
  }

  const std::size_t written = congestion_agrees(partial.congestion) ? state.write(partial, out) : 0;
  if (written == 0) return state.drop(index, DropReason::kBadHeader, given_up);
  const Outcome whole{.kind = Outcome::Kind::kComplete,
                      .given_up = given_up,
                      .size = written,
                      .shape = {partial.largest, std::span(state.shape).first(partial.fragments)}};
  state.give_up(index);
  return whole;
}

std::uint32_t Reassembler::expire(Timestamp now) noexcept {
  std::uint32_t count = 0;
  for (std::size_t f = 0; f < kTimeouts.size(); ++f) {
    while (state_->oldest[f] != kNone &&
           now - state_->partials[state_->oldest[f]].started >= kTimeouts[f]) {
      state_->give_up(state_->oldest[f]);
      ++count;
    }
  }
  return count;
}

std::uint32_t Reassembler::waiting() const noexcept { return state_->waiting; }

}  // namespace lb::engine
