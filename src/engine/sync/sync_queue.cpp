// SPDX-License-Identifier: Apache-2.0
#include "engine/sync/sync_queue.hpp"

#include <algorithm>

#include "net/bytes.hpp"

namespace lb::engine {
namespace {

constexpr unsigned kMaxEntries = 255;  // the count is one byte

std::size_t padding_after(std::size_t size) { return (4 - size % 4) % 4; }

}  // namespace

// An entry that is longer than a message may be goes alone.
SyncQueue::SyncQueue(std::size_t max_length, std::uint8_t sync_id)
    : max_length_(max_length),
      capacity_(std::max(max_length, kSyncHeaderV1 + kMaxSyncEntry)),
      sync_id_(sync_id),
      memory_(capacity_ * kSlots) {}

void SyncQueue::begin(int version, Timestamp now) noexcept {
  const auto message = slot((oldest_ + waiting_) % kSlots);
  version_ = version;
  entries_ = 0;
  begun_ = now;
  filled_ = version == 0 ? kSyncHeaderV0 : kSyncHeaderV1;
  std::fill_n(message.begin(), kSyncHeaderV1, std::byte{0});
  net::store(message, 1, sync_id_);
  if (version != 0) net::store(message, 5, std::uint8_t{1});
}

bool SyncQueue::close(std::size_t limit, Timestamp now) noexcept {
  const auto message = slot((oldest_ + waiting_) % kSlots);
  net::store(message, 2, net::Be16::from_host(static_cast<std::uint16_t>(filled_)));
  net::store(message, version_ == 0 ? 0 : 4, static_cast<std::uint8_t>(entries_));
  if (waiting_ >= std::min(limit, kBatch)) {
    filled_ = 0;
    return true;
  }
  if (waiting_++ == 0) closed_ = now;
  closed_sizes_[(oldest_ + waiting_ - 1) % kSlots] = filled_;
  filled_ = 0;
  return false;
}

bool SyncQueue::append(const SyncEntry& entry, int version, std::size_t limit,
                       Timestamp now) noexcept {
  const auto size = sync_entry_size(entry, version);
  auto padding = padding_after(filled_);
  bool is_lost = false;
  if (filled_ != 0 &&
      (filled_ + padding + size > max_length_ || version != version_ || entries_ == kMaxEntries)) {
    is_lost = close(limit, now);
  }
  if (filled_ == 0) {
    begin(version, now);
    padding = 0;
  }
  const auto message = slot((oldest_ + waiting_) % kSlots);
  std::fill_n(message.begin() + static_cast<std::ptrdiff_t>(filled_), padding, std::byte{0});
  write_sync_entry(entry, version, message.subspan(filled_ + padding, size));
  filled_ += padding + size;
  ++entries_;
  return is_lost;
}

std::optional<std::span<const std::byte>> SyncQueue::take_due(Timestamp now) noexcept {
  if (waiting_ == 0 && filled_ != 0 && now - begun_ >= kFlushAge) {
    (void)close(kBatch, now);
    is_draining_ = true;
  }
  if (waiting_ == 0) {
    is_draining_ = false;
    return std::nullopt;
  }
  if (!is_draining_ && waiting_ < kBatch && now - closed_ < kSendDelay) return std::nullopt;
  is_draining_ = true;
  const auto message = slot(oldest_).first(closed_sizes_[oldest_]);
  oldest_ = (oldest_ + 1) % kSlots;
  --waiting_;
  return message;
}

}  // namespace lb::engine
