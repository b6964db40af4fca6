// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <xdp/xsk.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "datapath/frame_memory.hpp"
#include "datapath/outcome.hpp"
#include "engine/network_view.hpp"

namespace lb::datapath {

/// The UMEM of one interface over the frame memory, with the rings of its first socket.
struct Umem {
  xsk_umem* umem = nullptr;
  xsk_ring_prod fill{};
  xsk_ring_cons completion{};
  bool rings_taken = false;  ///< by the first socket

  Umem() = default;
  ~Umem();
  Umem(const Umem&) = delete;
  Umem& operator=(const Umem&) = delete;
  /// Registers the memory; `ring_size` entries for the rings of the first socket.
  [[nodiscard]] Outcome<void> create(const FrameMemory& memory, std::uint32_t ring_size);
};

/// One AF_XDP socket: a receive queue of an interface, and a way to send out of it. Copy mode.
///
/// Chunks move: from the free list into the fill ring, with a received frame to the caller, with
/// a sent one into the transmit ring, and from the completion ring back to the free list.
class XskPort {
 public:
  struct Place {
    engine::InterfaceId interface = engine::InterfaceId::kNone;
    std::string name;
    std::uint32_t queue = 0;
    std::uint32_t ring_size = 0;
    FrameMemory::Holder number = 1;  ///< that no other open port has; not 0
    bool takes_large = false;        ///< wants frames in several chunks, if the kernel has them
    bool may_wait = false;           ///< up to a second for a queue that is still held
  };
  struct Counters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
  };

  [[nodiscard]] static Outcome<std::unique_ptr<XskPort>> open(Umem& umem, FrameMemory& memory,
                                                              Place place);
  ~XskPort();
  XskPort(const XskPort&) = delete;
  XskPort& operator=(const XskPort&) = delete;

  [[nodiscard]] int fd() const noexcept { return ::xsk_socket__fd(socket_); }
  [[nodiscard]] const Place& place() const noexcept { return place_; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

  /// Takes up to `room.size()` received frames (or parts of such); they belong to the caller.
  [[nodiscard]] std::size_t receive(std::span<Frame> room) noexcept;
  /// Queues a frame and takes its chunk; false (the caller keeps it) if the ring is full.
  [[nodiscard]] bool send(const Frame& frame) noexcept;
  /// Hands what is queued to the kernel, takes back what is sent, and refills the fill ring.
  void flush() noexcept;
  /// True if the kernel has not taken all that is queued and may take it soon.
  [[nodiscard]] bool wants_flush() const noexcept { return wants_flush_; }
  /// What has come of a frame in several chunks; the caller adds and takes.
  [[nodiscard]] std::vector<std::byte>& partial() noexcept { return partial_; }
  /// True if frames larger than a chunk are received, in parts.
  [[nodiscard]] bool takes_large() const noexcept { return place_.takes_large; }
  /// Frames lost before they got here, as the kernel counts them.
  [[nodiscard]] std::uint64_t receive_drops() const noexcept;

 private:
  XskPort(FrameMemory& memory, Place place) : memory_(memory), place_(std::move(place)) {}
  void reclaim() noexcept;
  void refill() noexcept;
  void kick() noexcept;
  [[nodiscard]] std::uint32_t unsent() const noexcept;

  FrameMemory& memory_;
  Place place_;
  xsk_socket* socket_ = nullptr;
  xsk_ring_cons receive_{};
  xsk_ring_prod transmit_{};
  xsk_ring_prod own_fill_{};
  xsk_ring_cons own_completion_{};
  xsk_ring_prod* fill_ = &own_fill_;
  xsk_ring_cons* completion_ = &own_completion_;
  std::uint32_t staged_ = 0;  ///< in the transmit ring, not yet shown to the kernel
  bool wants_flush_ = false;
  Counters counters_;
  std::vector<std::byte> partial_;
};

}  // namespace lb::datapath
