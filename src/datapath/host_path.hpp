// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "datapath/file_descriptor.hpp"
#include "datapath/netlink_socket.hpp"
#include "datapath/outcome.hpp"
#include "datapath/steer_program.hpp"
#include "engine/network_view.hpp"

namespace lb::datapath {

/// The way of frames back to the host's own stack, and of frames that the host itself sends and the
/// engine must see (answers of real servers on the director).
///
/// One TAP device with a queue for each served interface. A tc program on its ingress redirects
/// to the ingress of the interface that the queue stands for: so the packet is that interface's
/// again, and rp_filter, netfilter and sockets see it as if nothing had happened. A queue rather
/// than a device for each interface: one device and one program, nothing to encode in the frame.
///
/// In the other direction the tc program on an interface's egress sends a frame into the TAP, to
/// the queue of that interface. The TAP offers no offloads, so the kernel completes checksums and
/// cuts up merged segments on the way.
///
/// Native XDP lies before the ingress that the frame is put in; generic XDP behind it, so in that
/// mode frames carry the return header (steer_abi.h).
class HostPath {
 public:
  static constexpr const char* kDeviceName = "sluice-host";

  struct Exit {
    engine::InterfaceId interface = engine::InterfaceId::kNone;
    bool is_native = true;
  };
  /// Creates the TAP; queue number i is for `exits[i]`.
  [[nodiscard]] static Outcome<std::unique_ptr<HostPath>> create(const SteerProgram& program,
                                                                 std::span<const Exit> exits);

  /// Hands over a frame that came in by `exits[exit]`; returns 0 or the errno.
  [[nodiscard]] int deliver(std::size_t exit, std::span<const std::byte> frame) noexcept;
  /// Reads a frame that the host was sending by `exits[exit]`; returns its size, 0 if there is
  /// none. What does not fit is cut off.
  [[nodiscard]] std::size_t receive(std::size_t exit, std::span<std::byte> room) noexcept;
  /// Descriptor of a queue: readable when `receive` has something.
  [[nodiscard]] int fd(std::size_t exit) const noexcept { return queues_[exit].tap.get(); }
  /// Opens one more queue, for an interface that `replace` tells of.
  [[nodiscard]] Outcome<void> add_queue();
  /// Puts another interface in the place of one that is gone.
  [[nodiscard]] Outcome<void> replace(const SteerProgram& program, std::size_t number,
                                      const Exit& exit);
  /// Asks the kernel how many frames of the host the queues had no room for; `note` gets the
  /// answer.
  void ask_losses(NetlinkSocket& socket) const noexcept;
  void note(const nlmsghdr& message) noexcept;
  [[nodiscard]] std::uint64_t losses() const noexcept { return losses_; }
  [[nodiscard]] engine::InterfaceId device() const noexcept { return device_; }

 private:
  HostPath() = default;
  [[nodiscard]] Outcome<void> configure(const SteerProgram& program);

  struct Queue {
    FileDescriptor tap;
    bool is_native = true;
  };
  std::vector<Queue> queues_;
  engine::InterfaceId device_ = engine::InterfaceId::kNone;
  std::array<std::byte, 14> return_header_{};
  std::uint64_t losses_ = 0;
};

}  // namespace lb::datapath
