// SPDX-License-Identifier: Apache-2.0
#include "engine/verdict.hpp"

#include <new>

namespace lb::engine {

namespace {

// Frames start on a cache line: headers are read by words, and whoever sends them copies by lines.
constexpr std::size_t kFrameAlignment = 64;

constexpr std::size_t aligned(std::size_t size) noexcept {
  return (size + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
}

}  // namespace

Outputs::Outputs()
    : room_(static_cast<std::byte*>(::operator new (kRoom, std::align_val_t{kFrameAlignment}))) {}

Outputs::~Outputs() { ::operator delete (room_, std::align_val_t{kFrameAlignment}); }

std::span<std::byte> Outputs::reserve(std::size_t size) noexcept {
  pending_ = {};
  if (count_ < kMaxFrames && size <= kRoom - used_) pending_ = {room_ + used_, size};
  return pending_;
}

void Outputs::commit(const Verdict& verdict) noexcept {
  if (pending_.empty()) return;
  frames_[count_] = {.verdict = verdict, .frame = pending_};
  ++count_;
  used_ += aligned(pending_.size());
  pending_ = {};
}

}  // namespace lb::engine
