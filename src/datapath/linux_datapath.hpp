// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "datapath/datapath.hpp"
#include "datapath/host_path.hpp"
#include "datapath/neighbours.hpp"
#include "datapath/network_follower.hpp"
#include "datapath/raw_socket.hpp"
#include "datapath/served_interface.hpp"

namespace lb::datapath {

/// AF_XDP, netlink and the TAP, driven by poll().
class LinuxDatapath final : public Datapath {
 public:
  LinuxDatapath(engine::Director& director, Log log) : director_(director), log_(std::move(log)) {}
  ~LinuxDatapath() override;

  [[nodiscard]] Outcome<void> open(const DatapathOptions& options, engine::NetworkView& network);
  [[nodiscard]] int fd() const override { return epoll_.get(); }
  bool poll(Timestamp now, std::size_t budget) override;
  [[nodiscard]] std::vector<InterfaceStatus> status() const override;

 private:
  struct Origin {
    std::size_t interface;  ///< number of the served interface that the packet came in by
    std::uint32_t queue;
  };

  [[nodiscard]] Outcome<void> open_interfaces(const DatapathOptions& options);
  [[nodiscard]] Outcome<void> open_neighbours();
  [[nodiscard]] Outcome<void> open_events();
  [[nodiscard]] Outcome<void> watch(int descriptor);
  void warn_of_vlans(const std::vector<LinkChange>& links) const;
  void link_changed(const LinkChange& link);

  std::size_t receive(std::size_t interface, XskPort& port, std::size_t budget);
  void process(Frame frame, const Origin& origin);
  void settle(Frame frame, const engine::Verdict& verdict, const Origin& origin);
  void settle_output(const engine::OutputFrame& output, const Origin& origin);
  void send(Frame frame, engine::InterfaceId out, std::uint32_t queue);
  void send_raw(engine::InterfaceId out, std::span<const std::byte> frame);
  void deliver(std::span<const std::byte> frame, const Origin& origin);
  bool flush();
  void handle_events();
  void drop(const Frame& frame, engine::DropReason reason);
  [[nodiscard]] ServedInterface* served(engine::InterfaceId id) noexcept;

  engine::Director& director_;
  Log log_;
  Timestamp now_;
  engine::Outputs outputs_;
  // Destroyed from the last to the first: interfaces before what they use.
  std::unique_ptr<NetworkFollower> network_;
  std::unique_ptr<SteerProgram> program_;
  std::unique_ptr<SteeringMaps> steering_;
  std::unique_ptr<FrameMemory> memory_;
  Umem umem_;
  std::optional<RawSocket> raw_;
  std::optional<NetlinkSocket> requests_;
  std::unique_ptr<Neighbours> neighbours_;
  std::unique_ptr<HostPath> host_;
  std::vector<std::unique_ptr<ServedInterface>> interfaces_;  // null: gone
  FileDescriptor timer_;
  FileDescriptor epoll_;
  std::size_t turn_ = 0;  ///< which interface poll() begins with
};

}  // namespace lb::datapath
