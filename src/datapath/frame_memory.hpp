// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "datapath/outcome.hpp"

namespace lb::datapath {

/// A frame in a chunk of the shared memory. Whoever holds it owns the chunk.
struct Frame {
  std::uint64_t chunk = 0;  ///< where the chunk begins in the memory
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  bool continues = false;  ///< received: the rest of the frame is in the next one
};

/// The memory that all AF_XDP sockets share, cut in chunks, and the list of those that nobody
/// holds. Every interface registers it as a UMEM of its own: a UMEM does not outlive the interface
/// of its first socket, and with all of them over the same memory a frame still goes from any
/// interface to any other without a copy.
///
/// A chunk that is in the rings of a socket is noted as that socket's: what the kernel has of a
/// socket that closes never comes back by itself.
///
/// The kernel writes a received frame 256 bytes (XDP_PACKET_HEADROOM) into its chunk: that is the
/// room for tunnel headers, so none is asked for besides.
class FrameMemory {
 public:
  static constexpr std::uint32_t kChunkSize = 4096;
  static constexpr std::uint32_t kHeadroom = 256;
  static constexpr std::uint32_t kLargestFrame = kChunkSize - kHeadroom;

  [[nodiscard]] static Outcome<std::unique_ptr<FrameMemory>> create(std::size_t chunks);
  ~FrameMemory();
  FrameMemory(const FrameMemory&) = delete;
  FrameMemory& operator=(const FrameMemory&) = delete;

  [[nodiscard]] std::span<std::byte> area() const noexcept { return area_; }
  [[nodiscard]] std::span<std::byte> chunk(const Frame& frame) const noexcept {
    return area_.subspan(frame.chunk, kChunkSize);
  }
  [[nodiscard]] std::span<std::byte> bytes(const Frame& frame) const noexcept {
    return area_.subspan(frame.chunk + frame.offset, frame.length);
  }

  [[nodiscard]] std::size_t free_chunks() const noexcept { return free_.size(); }
  /// Takes a chunk; there must be a free one.
  [[nodiscard]] std::uint64_t take() noexcept {
    const auto chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  /// Gives back the chunk that `address` lies in.
  void give(std::uint64_t address) noexcept {
    set_holder(address, kNobody);
    free_.push_back(address & ~std::uint64_t{kChunkSize - 1});
  }

  /// Number of a socket; kNobody: the chunk is free or on its way through the engine.
  using Holder = std::uint16_t;
  static constexpr Holder kNobody = 0;
  void set_holder(std::uint64_t address, Holder holder) noexcept {
    holders_[address / kChunkSize] = holder;
  }
  /// Frees all chunks that are in the rings of a socket that is closed.
  void recover(Holder holder) noexcept;

 private:
  FrameMemory() = default;
  std::span<std::byte> area_;
  std::vector<std::uint64_t> free_;  // never grows beyond its first size
  std::vector<Holder> holders_;      // by chunk
};

}  // namespace lb::datapath
