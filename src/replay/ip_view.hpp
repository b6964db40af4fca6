// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/address.hpp"

namespace lb::replay {

/// Reads big-endian numbers; the caller has made sure that they are there.
[[nodiscard]] std::uint8_t read8(std::span<const std::byte> bytes, std::size_t offset) noexcept;
[[nodiscard]] std::uint16_t read16(std::span<const std::byte> bytes, std::size_t offset) noexcept;
[[nodiscard]] std::uint32_t read32(std::span<const std::byte> bytes, std::size_t offset) noexcept;

/// An IP packet as a reader of frames sees it, cut to the length that its header tells. The
/// replay has a reader of its own, so that it does not judge the engine with the engine's eyes.
struct IpView {
  std::span<const std::byte> packet;  ///< from the IP header on
  std::size_t header_size = 0;        ///< with options or extension headers
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 0;
  std::uint8_t tos = 0;
  std::uint32_t id = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;
  net::IpAddress source;
  net::IpAddress destination;

  [[nodiscard]] bool is_v4() const noexcept { return source.is_v4(); }
  [[nodiscard]] bool is_fragment() const noexcept { return more_fragments || fragment_offset != 0; }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept {
    return packet.subspan(header_size);
  }
};

/// Reads the IP packet at the start of `bytes`; null if it is none or is cut off in its headers.
[[nodiscard]] std::optional<IpView> view_ip(std::span<const std::byte> bytes) noexcept;
/// Reads the IP packet in an Ethernet frame (at most two VLAN tags).
[[nodiscard]] std::optional<IpView> view_frame(std::span<const std::byte> frame) noexcept;
/// The ports of a TCP, UDP or SCTP packet that holds them.
struct PortPair {
  std::uint16_t source = 0;
  std::uint16_t destination = 0;
};
[[nodiscard]] std::optional<PortPair> ports_of(const IpView& ip) noexcept;
/// The source or destination of `ip` with its port; port 0 if there is none.
[[nodiscard]] net::Endpoint source_end(const IpView& ip) noexcept;
[[nodiscard]] net::Endpoint destination_end(const IpView& ip) noexcept;

/// The packet that tunnel packet `ip` carries (IPIP, GRE, GUE on UDP port 6080), or null.
[[nodiscard]] std::optional<IpView> view_tunnelled(const IpView& ip) noexcept;

}  // namespace lb::replay
