// SPDX-License-Identifier: Apache-2.0
#include "datapath/xsk_port.hpp"

#include <linux/if_xdp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace lb::datapath {
namespace {

/// A socket that was closed a moment ago still holds its queue for some milliseconds.
constexpr int kBindAttempts = 100;
constexpr std::chrono::milliseconds kBindPause{10};
/// The kernel sends at most 32 frames a call in copy mode.
constexpr int kFramesPerCall = 32;
/// Room for a full transmit ring of frames in flight; the default holds about 90.
constexpr int kSendBuffer = 16 << 20;
/// Frames in several chunks (Linux 6.6; <linux/if_xdp.h> may be older).
constexpr std::uint16_t kUseSeveralChunks = 1U << 4;  // XDP_USE_SG
constexpr std::uint32_t kContinues = 1U << 0;         // XDP_PKT_CONTD

std::string open_failure(const XskPort::Place& place, int error) {
  std::string text = fmt::format("interface {}: cannot open an AF_XDP socket on queue {}: {}",
                                 place.name, place.queue, std::strerror(error));
  if (error == EBUSY) text += "; another program receives from this queue";
  if (error == EPERM) text += "; run as root (CAP_NET_RAW)";
  if (error == EMFILE || error == ENFILE) text += "; allow more open files (ulimit -n)";
  if (error == ENOBUFS || error == ENOMEM) {
    text += "; allow locked memory (ulimit -l unlimited) or take fewer frames a queue";
  }
  return text;
}

}  // namespace

Outcome<void> Umem::create(const FrameMemory& memory, std::uint32_t ring_size) {
  const xsk_umem_config config{.fill_size = ring_size,
                               .comp_size = ring_size,
                               .frame_size = FrameMemory::kChunkSize,
                               .frame_headroom = 0,
                               .flags = 0};
  const auto area = memory.area();
  const int error =
      ::xsk_umem__create(&umem, area.data(), area.size(), &fill, &completion, &config);
  if (error == 0) return {};
  umem = nullptr;
  std::string hint;
  if (error == -EPERM) hint = " (run as root: CAP_NET_RAW)";
  if (error == -ENOBUFS || error == -ENOMEM) hint = " (allow locked memory: ulimit -l unlimited)";
  if (error == -EMFILE || error == -ENFILE) hint = " (allow more open files: ulimit -n)";
  if (error == -EAFNOSUPPORT) hint = " (this kernel has no CONFIG_XDP_SOCKETS)";
  return system_failure("cannot register memory for AF_XDP" + hint, -error);
}

Umem::~Umem() {
  if (umem != nullptr) ::xsk_umem__delete(umem);
}

Outcome<std::unique_ptr<XskPort>> XskPort::open(Umem& umem, FrameMemory& memory, Place place) {
  std::unique_ptr<XskPort> port(new XskPort(memory, std::move(place)));
  auto& at = port->place_;
  if (!umem.rings_taken) {
    port->fill_ = &umem.fill;
    port->completion_ = &umem.completion;
  }
  xsk_socket_config config{};
  config.rx_size = at.ring_size;
  config.tx_size = at.ring_size;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
  if (at.takes_large) config.bind_flags |= kUseSeveralChunks;
  int error = 0;
  for (int attempt = 1;;) {
    error = ::xsk_socket__create_shared(&port->socket_, at.name.c_str(), at.queue, umem.umem,
                                        &port->receive_, &port->transmit_, port->fill_,
                                        port->completion_, &config);
    if (error == -EINVAL && at.takes_large) {
      at.takes_large = false;
      config.bind_flags &= static_cast<std::uint16_t>(~kUseSeveralChunks);
      continue;
    }
    if (error != -EBUSY || !at.may_wait || attempt++ == kBindAttempts) break;
    std::this_thread::sleep_for(kBindPause);
  }
  if (error != 0) {
    port->socket_ = nullptr;
    return tl::unexpected(open_failure(at, -error));
  }
  umem.rings_taken = true;
  // A smaller buffer only means that more calls are needed to send a burst.
  ::setsockopt(port->fd(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof(kSendBuffer));
  port->refill();
  return port;
}

XskPort::~XskPort() {
  if (socket_ != nullptr) ::xsk_socket__delete(socket_);
  memory_.recover(place_.number);
}

std::size_t XskPort::receive(std::span<Frame> room) noexcept {
  std::uint32_t index = 0;
  const auto count =
      ::xsk_ring_cons__peek(&receive_, static_cast<std::uint32_t>(room.size()), &index);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto* descriptor = ::xsk_ring_cons__rx_desc(&receive_, index + i);
    constexpr std::uint64_t kMask = FrameMemory::kChunkSize - 1;
    room[i] = {.chunk = descriptor->addr & ~kMask,
               .offset = static_cast<std::uint32_t>(descriptor->addr & kMask),
               .length = descriptor->len,
               .continues = (descriptor->options & kContinues) != 0};
    memory_.set_holder(descriptor->addr, FrameMemory::kNobody);
  }
  if (count != 0) ::xsk_ring_cons__release(&receive_, count);
  counters_.received += count;
  return count;
}

bool XskPort::send(const Frame& frame) noexcept {
  std::uint32_t index = 0;
  if (::xsk_ring_prod__reserve(&transmit_, 1, &index) == 0) {
    flush();
    if (::xsk_ring_prod__reserve(&transmit_, 1, &index) == 0) return false;
  }
  auto* descriptor = ::xsk_ring_prod__tx_desc(&transmit_, index);
  *descriptor = {.addr = frame.chunk + frame.offset, .len = frame.length, .options = 0};
  memory_.set_holder(frame.chunk, place_.number);
  ++staged_;
  ++counters_.sent;
  return true;
}

void XskPort::flush() noexcept {
  if (staged_ != 0) {
    ::xsk_ring_prod__submit(&transmit_, staged_);
    staged_ = 0;
    wants_flush_ = true;
  }
  if (wants_flush_) kick();
  reclaim();
  refill();
}

std::uint32_t XskPort::unsent() const noexcept {
  return transmit_.cached_prod - __atomic_load_n(transmit_.consumer, __ATOMIC_ACQUIRE);
}

void XskPort::kick() noexcept {
  wants_flush_ = false;
  std::uint32_t left = unsent();
  while (left != 0) {
    if (::sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno != EAGAIN &&
        errno != EBUSY && errno != ENOBUFS) {
      return;  // the interface is down or gone; what is queued leaves when it is up again
    }
    const auto now_left = unsent();
    if (now_left != 0 && left - now_left < kFramesPerCall) {
      // The kernel took less than it may: buffers or the device's queue are full for now.
      reclaim();
      wants_flush_ = true;
      return;
    }
    left = now_left;
  }
}

void XskPort::reclaim() noexcept {
  std::uint32_t index = 0;
  const auto count = ::xsk_ring_cons__peek(completion_, completion_->size, &index);
  for (std::uint32_t i = 0; i < count; ++i) {
    memory_.give(*::xsk_ring_cons__comp_addr(completion_, index + i));
  }
  if (count != 0) ::xsk_ring_cons__release(completion_, count);
}

void XskPort::refill() noexcept {
  const auto room = ::xsk_prod_nb_free(fill_, fill_->size);
  const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(room, memory_.free_chunks()));
  std::uint32_t index = 0;
  if (count == 0 || ::xsk_ring_prod__reserve(fill_, count, &index) == 0) return;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto chunk = memory_.take();
    memory_.set_holder(chunk, place_.number);
    *::xsk_ring_prod__fill_addr(fill_, index + i) = chunk;
  }
  ::xsk_ring_prod__submit(fill_, count);
}

std::uint64_t XskPort::receive_drops() const noexcept {
  xdp_statistics statistics{};
  socklen_t size = sizeof(statistics);
  if (::getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &statistics, &size) != 0) return 0;
  return statistics.rx_dropped + statistics.rx_ring_full;
}

}  // namespace lb::datapath
