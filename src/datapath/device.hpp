// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "datapath/datapath.hpp"
#include "datapath/network_changes.hpp"
#include "datapath/outcome.hpp"

namespace lb::datapath {

/// Queues of a network device that are in use.
struct QueueCounts {
  std::uint32_t receive = 1;
  std::uint32_t transmit = 1;
};

/// Asks the driver; a driver that can't tell has as many as the link announces.
[[nodiscard]] QueueCounts queue_counts(const LinkChange& link);

/// The links to serve: those named, or with no names every Ethernet-like one that is up, carries
/// packets of its own and is not part of a bridge or bond. An unknown or unfit name is an error.
[[nodiscard]] Outcome<std::vector<LinkChange>> choose_links(const std::vector<LinkChange>& links,
                                                            const std::vector<std::string>& names);

/// Turns off the merging of received packets (GRO, LRO) on a device while it lives.
///
/// Generic XDP sees packets after merging: up to 64 KiB that fit no AF_XDP frame.
class MergingOff {
 public:
  MergingOff(std::string device, const Log& log);
  ~MergingOff();
  MergingOff(const MergingOff&) = delete;
  MergingOff& operator=(const MergingOff&) = delete;

 private:
  std::string device_;
  bool gro_was_on_ = false;
  bool lro_was_on_ = false;
};

/// Frames that XDP sent out of a device, and those that it could not, as the driver counts them.
struct XdpSendCounts {
  std::uint64_t sent = 0;
  std::uint64_t errors = 0;

  /// True if since `before` frames were lost, and next to none was sent: the device delivers none.
  /// One that is overloaded loses some.
  [[nodiscard]] bool delivers_none(const XdpSendCounts& before) const noexcept {
    constexpr std::uint64_t kMany = 8;
    return errors > before.errors && (errors - before.errors) / kMany >= sent - before.sent;
  }
};
/// Null: the driver does not count errors.
[[nodiscard]] std::optional<XdpSendCounts> xdp_send_counts(const std::string& device);

/// True if the device takes VLAN tags out of received packets before XDP sees them.
[[nodiscard]] bool strips_vlan_tags(const std::string& device);

}  // namespace lb::datapath
