// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "datapath/frame_memory.hpp"
#include "datapath/netlink_socket.hpp"
#include "datapath/network_changes.hpp"
#include "engine/network_view.hpp"
#include "net/address.hpp"
#include "net/time.hpp"

namespace lb::datapath {

/// Has the kernel resolve next hops, and keeps frames until it has.
///
/// The kernel does not see the packets that the engine sends, so it would neither ask for the MAC
/// nor confirm it later, and forget it at last. Telling it of a use (RTM_NEWNEIGH with NTF_USE) is
/// what a packet of its own would do: an unknown neighbour is asked for, a stale one is probed,
/// and it is not collected. Each next hop in use is told again every few seconds. (NTF_EXT_MANAGED
/// would spare that, but only Linux 5.16 has it and the entries would outlive us.)
///
/// Bounded: next hops, waiting frames for each, waiting frames together, waiting time.
class Neighbours {
 public:
  static constexpr std::size_t kMaxHops = 4096;
  static constexpr std::size_t kMaxWaiting = 1024;
  static constexpr std::uint32_t kMaxWaitingEach = 64;
  static constexpr Duration kLongestWait = std::chrono::seconds(3);

  /// Sends one question to the kernel.
  using Ask = std::function<void(engine::InterfaceId out, const net::IpAddress& next_hop)>;
  /// Takes back a frame: with the MAC of its next hop, or null when it is given up.
  using Release = std::function<void(engine::InterfaceId out, Frame frame, const net::Mac* mac)>;

  Neighbours(Ask ask, Release release);

  /// Notes that a packet went to a next hop whose MAC is known.
  void note_use(engine::InterfaceId out, const net::IpAddress& next_hop, Timestamp now);
  /// Keeps `frame` until its next hop is resolved; false (the caller keeps it): no room.
  [[nodiscard]] bool hold(engine::InterfaceId out, const net::IpAddress& next_hop,
                          const Frame& frame, Timestamp now);
  /// Releases what waits for a neighbour that is resolved or has failed.
  void changed(const NeighbourChange& change);
  /// Releases what waits for an interface that is gone.
  void interface_gone(engine::InterfaceId id);
  /// Gives up frames that waited too long, tells the kernel of next hops in use, forgets others.
  void advance(Timestamp now);
  [[nodiscard]] std::size_t waiting() const noexcept { return kMaxWaiting - free_.size(); }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Key {
    engine::InterfaceId out;
    net::IpAddress address;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Hop {
    Timestamp used;
    Timestamp asked;
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
    std::uint32_t waiting = 0;
  };
  struct Waiting {
    Frame frame;
    Timestamp since;
    std::uint32_t next = kNone;
  };

  [[nodiscard]] Hop* hop_for(const Key& key, Timestamp now);
  void ask(const Key& key, Hop& hop, Timestamp now);
  void release_first(const Key& key, Hop& hop, const net::Mac* mac);

  Ask ask_;
  Release release_;
  std::unordered_map<Key, Hop, Hash> hops_;
  std::vector<Waiting> waiting_;
  std::vector<std::uint32_t> free_;
};

/// Tells the kernel by `socket` that a neighbour is in use; returns 0 or the errno of sending.
int tell_use(NetlinkSocket& socket, engine::InterfaceId out, const net::IpAddress& next_hop);

}  // namespace lb::datapath
