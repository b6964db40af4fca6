// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "net/address.hpp"
#include "replay/case_file.hpp"

namespace lb::replay {

/// A packet in the shorthand of text cases, much as tcpdump writes it:
///
///     tcp 198.51.100.7:40000 > 192.0.2.10:80 SA seq 9000 ack 1001 len 5 ttl 62
///     udp A:p > B:p | sctp A:p > B:p INIT | proto 50 A > B
///     icmp A > B echo | echo-reply | port-unreachable | TYPE/CODE   [rest N]  [about PACKET]
///     ipip|gre|gue A > B [csum] carrying PACKET
///
/// Everywhere: `ttl N`, `tos N`, `id N`, `no-df`, `piece FIRST:LENGTH[+]` (a fragment of what is
/// described; `+`: more follow), and behind it all `via ADDRESS` (whose MAC a frame is sent to).
struct PacketText {
  enum class Kind : std::uint8_t { kTcp, kUdp, kSctp, kIcmp, kOther, kIpip, kGre, kGue };
  struct Piece {
    std::size_t first = 0;
    std::size_t length = 0;
    bool more = false;
  };

  Kind kind = Kind::kTcp;
  net::Endpoint source{};
  net::Endpoint destination{};
  std::string flags{};        ///< TCP letters ("." for none) or SCTP chunk names
  std::uint8_t protocol = 0;  ///< of kOther
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  std::optional<std::uint32_t> icmp_rest{};
  std::optional<std::uint32_t> seq{};
  std::optional<std::uint32_t> ack{};
  std::optional<std::size_t> length{};  ///< bytes of payload
  std::optional<std::uint8_t> ttl{};
  std::optional<std::uint8_t> tos{};
  std::optional<std::uint16_t> id{};
  std::optional<bool> dont_fragment{};
  std::optional<Piece> piece{};
  std::optional<net::IpAddress> via{};
  bool with_checksum = false;  ///< GRE, GUE
  std::shared_ptr<PacketText> inner{};
  /// Of a packet quoted in an error that was translated: the one whose checksum it still carries.
  std::shared_ptr<PacketText> summed_as{};

  [[nodiscard]] bool is_icmp_error() const noexcept;
  [[nodiscard]] bool is_tunnel() const noexcept { return kind >= Kind::kIpip; }
};

/// Reads the shorthand; the error is a sentence that names the word.
[[nodiscard]] tl::expected<PacketText, std::string> parse_packet_text(std::string_view text);

/// Fills in what `packet` leaves open from `like`, a packet of the same kind, its TTL less one if
/// `hop`. What `like` leaves open as well gets the values that build_packet takes.
void inherit(PacketText& packet, const PacketText& like, bool hop);

/// The bytes from the IP header on, with right checksums. Defaults: TTL 63, identification 1, DF,
/// sequence and acknowledgement numbers 1000 and 0, window 64240, 5 bytes of UDP payload, none
/// of TCP; no tunnel header has an identification of its own. The error is a sentence.
[[nodiscard]] tl::expected<Bytes, std::string> build_packet(const PacketText& packet);

}  // namespace lb::replay
