// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "datapath/device.hpp"
#include "datapath/egress_hook.hpp"
#include "datapath/frame_memory.hpp"
#include "datapath/steer_program.hpp"
#include "datapath/xsk_port.hpp"

namespace lb::datapath {

/// An interface with its programs (XDP, tc) and a socket for each receive queue.
class ServedInterface {
 public:
  struct Shared {
    SteerProgram& program;
    FrameMemory& memory;
    Log log;
    bool may_wait =
        false;  ///< up to a second for queues that are still held; stops everything else
  };
  struct Plan {
    LinkChange link;
    QueueCounts queues;
    std::uint32_t first_socket = 0;  ///< slot in the program's socket map
    std::uint32_t host_queue = 0;    ///< of the TAP, for what the host itself sends
    std::uint32_t ring_size = 0;
    XdpMode mode = XdpMode::kAuto;
  };

  /// Attaches the programs and opens the sockets; undoes what it did when it fails.
  [[nodiscard]] static Outcome<std::unique_ptr<ServedInterface>> open(const Shared& shared,
                                                                      Plan plan);
  ~ServedInterface();
  ServedInterface(const ServedInterface&) = delete;
  ServedInterface& operator=(const ServedInterface&) = delete;

  [[nodiscard]] engine::InterfaceId id() const noexcept { return plan_.link.interface.id; }
  [[nodiscard]] const std::string& name() const noexcept { return plan_.link.interface.name; }
  [[nodiscard]] bool is_native() const noexcept { return attachment_.is_native; }
  [[nodiscard]] std::vector<std::unique_ptr<XskPort>>& ports() noexcept { return ports_; }
  /// The port to send out of, for a packet that came in on receive queue `queue` of any interface.
  [[nodiscard]] XskPort& port_for(std::uint32_t queue) noexcept {
    return *ports_[queue % sending_ports_];
  }
  [[nodiscard]] InterfaceStatus status() const;
  /// Whether `note_checksum` is to see the frames that come.
  [[nodiscard]] bool counts_checksums() const noexcept {
    return is_native() && plan_.link.kind == "veth";
  }
  void note_checksum(std::span<const std::byte> frame) noexcept;
  /// Says once that frames were lost on the way to the sockets, and why they may have been.
  void watch_drops(const Log& log);

 private:
  [[nodiscard]] Outcome<void> open_ports(const Shared& shared);

  ServedInterface(SteerProgram& program, Plan plan) : program_(program), plan_(std::move(plan)) {}

  SteerProgram& program_;
  Plan plan_;
  std::optional<MergingOff> merging_off_;
  SteerProgram::Attachment attachment_;
  std::unique_ptr<EgressHook> egress_;
  Umem umem_;
  std::vector<std::unique_ptr<XskPort>> ports_;
  std::size_t sending_ports_ = 1;
  std::uint64_t unfinished_checksums_ = 0;
  bool has_told_drops_ = false;
};

}  // namespace lb::datapath
