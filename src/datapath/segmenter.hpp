// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/address.hpp"
#include "net/parse.hpp"

namespace lb::datapath {

/// Sizes of segments by destination, learnt from errors ("too big") that the engine answered: a
/// frame's own size says nothing, and without this the same ones would be too big again.
class SegmentSizes {
 public:
  /// The size of IP packets to `destination`; at most `mtu`.
  [[nodiscard]] std::size_t size_for(const net::IpAddress& destination,
                                     std::size_t mtu) const noexcept;
  /// Learns from an ICMP error frame about a segment to `destination`; others say nothing.
  void learn(const net::IpAddress& destination, std::span<const std::byte> error) noexcept;

 private:
  struct Entry {
    net::IpAddress destination;
    std::uint16_t size = 0;
  };
  static constexpr std::size_t kEntries = 256;
  [[nodiscard]] static std::size_t slot_of(const net::IpAddress& destination) noexcept;
  std::array<Entry, kEntries> entries_{};
};

/// Cuts a TCP frame that is larger than any packet on the wire into segments.
///
/// Generic XDP sees such frames: of a veth peer that leaves segmentation to its device (TSO), or
/// merged on receipt (GRO). The segment size that their sender meant is not to be seen, so each
/// segment gets what the MTU lets it have; TCP does not mind where it is cut. As devices do it:
/// sequence numbers and IPv4 identifications count on, PSH and FIN are on the last segment only,
/// CWR on the first (RFC 3168, 6.1.2), and all checksums are computed anew.
class Segmenter {
 public:
  /// Nothing if the frame is no whole TCP packet larger than the MTU, or no data fits beside its
  /// headers.
  /// `frame` must outlive the segmenter.
  [[nodiscard]] static std::optional<Segmenter> create(std::span<const std::byte> frame,
                                                       std::size_t mtu,
                                                       const SegmentSizes& sizes) noexcept;
  /// Writes the next segment into `room` and returns its size; 0 if there is none left, or no room.
  [[nodiscard]] std::size_t next(std::span<std::byte> room) noexcept;
  [[nodiscard]] const net::IpAddress& destination() const noexcept { return headers_.destination; }

 private:
  Segmenter(std::span<const std::byte> frame, const net::Headers& headers, std::size_t data,
            std::size_t most) noexcept
      : frame_(frame), headers_(headers), data_(data), most_(most), at_(data) {}
  void write_headers(std::span<std::byte> segment, bool is_last) const noexcept;

  std::span<const std::byte> frame_;
  net::Headers headers_;
  std::size_t data_;  ///< where the payload begins
  std::size_t most_;  ///< bytes of payload in a segment
  std::size_t at_;    ///< what is sent next
  std::uint16_t count_ = 0;
};

}  // namespace lb::datapath
