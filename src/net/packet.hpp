// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lb::net {

/// A frame (from the Ethernet header on) inside a larger buffer that it may grow into.
///
/// The packet does not own the buffer. Tunnels prepend headers into the headroom; a packet
/// never moves inside its buffer by itself.
class Packet {
 public:
  /// No frame; for arrays of packets.
  Packet() noexcept = default;
  /// The frame is `length` bytes at `offset` of `buffer`; both must lie inside it.
  Packet(std::span<std::byte> buffer, std::size_t offset, std::size_t length) noexcept
      : buffer_(buffer), offset_(offset), length_(length) {}

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return buffer_.subspan(offset_, length_); }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return buffer_.subspan(offset_, length_);
  }
  [[nodiscard]] std::size_t size() const noexcept { return length_; }
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::size_t headroom() const noexcept { return offset_; }
  [[nodiscard]] std::size_t tailroom() const noexcept { return buffer_.size() - offset_ - length_; }

  /// Grows the frame by `count` bytes at its front; false (and unchanged) without headroom.
  [[nodiscard]] bool push_front(std::size_t count) noexcept {
    if (count > offset_) return false;
    offset_ -= count;
    length_ += count;
    return true;
  }
  /// Cuts `count` bytes from the front; `count` must not exceed the size.
  void pull_front(std::size_t count) noexcept {
    offset_ += count;
    length_ -= count;
  }
  /// Sets the size by moving the end; false (and unchanged) if the buffer ends before.
  [[nodiscard]] bool resize(std::size_t size) noexcept {
    if (size > buffer_.size() - offset_) return false;
    length_ = size;
    return true;
  }

  /// The NIC has verified the transport checksum (CHECKSUM_UNNECESSARY).
  bool checksum_verified = false;
  /// Firewall mark given by the mark rules; 0 is none.
  std::uint32_t mark = 0;
  /// The host's routing takes it as its own though its destination is no address of the host
  /// (policy routing: `ip rule ... lookup`, `ip route add local`).
  bool routed_locally = false;

 private:
  std::span<std::byte> buffer_;
  std::size_t offset_ = 0;
  std::size_t length_ = 0;
};

}  // namespace lb::net
