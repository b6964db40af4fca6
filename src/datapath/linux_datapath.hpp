// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datapath/datapath.hpp"
#include "datapath/device.hpp"
#include "datapath/errands.hpp"
#include "datapath/host_path.hpp"
#include "datapath/host_sockets.hpp"
#include "datapath/neighbours.hpp"
#include "datapath/network_follower.hpp"
#include "datapath/raw_socket.hpp"
#include "datapath/segmenter.hpp"
#include "datapath/served_interface.hpp"
#include "datapath/vlan_tags.hpp"
#include "datapath/xdp_features.hpp"

namespace lb::datapath {

/// AF_XDP, netlink and the TAP, driven by poll().
class LinuxDatapath final : public Datapath {
 public:
  LinuxDatapath(engine::Director& director, Log log) : director_(director), log_(std::move(log)) {}
  ~LinuxDatapath() override;

  [[nodiscard]] Outcome<void> open(const DatapathOptions& options, engine::NetworkView& network);
  [[nodiscard]] Outcome<void> serve(const std::vector<std::string>& names) override;
  [[nodiscard]] int fd() const override { return epoll_.get(); }
  bool poll(Timestamp now, std::size_t budget) override;
  [[nodiscard]] std::vector<InterfaceStatus> status() const override;
  [[nodiscard]] std::vector<DatapathCounter> counters() const override;

 private:
  struct Origin {
    std::size_t interface;  ///< number of the served interface that the packet came in by
    std::uint32_t queue;
    bool is_from_host = false;  ///< no: it was leaving by that interface, sent by the host itself
    VlanTags tags = {};         ///< that the frame had
  };
  /// Whether XDP may send out of an interface.
  struct FastSending {
    bool is_possible = false;
    bool has_told = false;  ///< that it is not
    XdpSendCounts counts;
    int pause = 0;  ///< ticks until it is tried again after errors
  };
  /// What tells whether XDP can send out of an interface; asking may wait for the kernel.
  struct SendingFacts {
    engine::InterfaceId id;
    std::optional<XdpFeatures> features;
    XdpSendCounts counts;
    [[nodiscard]] static SendingFacts of(engine::InterfaceId id, const std::string& name);
  };
  struct Served {
    ServedInterface::Plan plan;
    std::uint32_t sockets = 0;                ///< slots of the socket map that are set aside for it
    std::unique_ptr<ServedInterface> opened;  ///< null: the interface is gone
    bool is_wanted = true;                    ///< false: no longer served, the place is free
    std::string trouble;                      ///< why it can't be opened again, as told last
    bool has_host_frames = false;             ///< the host's queue was readable
    FastSending sending;
  };

  [[nodiscard]] Outcome<void> open_interfaces(const DatapathOptions& options);
  [[nodiscard]] Outcome<void> open_one(Served& served);
  [[nodiscard]] Outcome<void> open_neighbours();
  [[nodiscard]] Outcome<void> open_events();
  [[nodiscard]] Outcome<void> watch(int descriptor);
  [[nodiscard]] Outcome<void> watch_ports(ServedInterface& interface);
  void warn_of_vlans(const std::vector<LinkChange>& links) const;
  void link_changed(const LinkChange& link);
  void try_again();
  void stop_serving(Served& served);
  [[nodiscard]] Outcome<void> check_room(std::size_t interfaces, std::uint32_t queues) const;
  [[nodiscard]] Outcome<void> add_place();
  [[nodiscard]] Outcome<void> reopen(std::size_t number, const LinkChange& link);
  void tick();
  void watch_sending(std::size_t number);
  void ask_about_sending();
  void judge_sending(std::size_t number, const SendingFacts& facts);
  void stop_sending(std::size_t number, std::string_view why);

  std::size_t receive(std::size_t interface, XskPort& port, std::size_t budget);
  std::size_t receive_from_host(std::size_t interface, std::size_t budget);
  bool join(XskPort& port, const Frame& frame, const Origin& origin);
  void process(Frame frame, Origin origin, const net::IpAddress* segment_to = nullptr);
  void conclude(Frame frame, const net::Packet& packet, const engine::Verdict& verdict,
                const Origin& origin, const net::IpAddress* segment_to = nullptr);
  [[nodiscard]] net::Packet packet_in(const Frame& frame) noexcept {
    return {memory_->chunk(frame), frame.offset, frame.length};
  }
  [[nodiscard]] bool process_large(std::span<const std::byte> frame, const Origin& origin);
  void settle(Frame frame, const engine::Verdict& verdict, const Origin& origin);
  void settle_output(engine::OutputFrame output, const Origin& origin);
  /// Sends what the director has to say by itself; true if there is more.
  bool send_due();
  void leave(std::span<std::byte> frame, const Origin& origin);
  [[nodiscard]] Frame match_tags(Frame frame, const Origin& origin, engine::InterfaceId out);
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
  std::optional<RawSocket> raw_;
  std::optional<NetlinkSocket> requests_;
  std::unique_ptr<Neighbours> neighbours_;
  HostPortsFollower host_ports_;
  std::unique_ptr<HostPath> host_;
  std::vector<Served> interfaces_;
  std::uint32_t sockets_ = 0;             ///< slots of the socket map that are set aside
  std::uint32_t queues_with_frames_ = 0;  ///< that there is memory for
  std::uint32_t ring_size_ = 0;
  XdpMode mode_ = XdpMode::kAuto;
  XdpTx xdp_tx_ = XdpTx::kAuto;
  const engine::NetworkView* view_ = nullptr;
  SegmentSizes segment_sizes_;
  std::uint32_t identification_ = 0;  ///< of IPv6 packets that are cut up here
  FileDescriptor timer_;
  FileDescriptor epoll_;
  std::size_t turn_ = 0;              ///< which interface poll() begins with
  bool is_asking_ = false;            ///< about sending
  std::unique_ptr<Errands> errands_;  ///< the last: its thread uses the others
};

}  // namespace lb::datapath
