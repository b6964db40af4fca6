// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "net/address.hpp"
#include "replay/case_file.hpp"

namespace lb::replay {

/// A packet in short form: what the corpus' README calls the frames of the short forms.
struct ShortPacket {
  net::Mac source_mac;
  net::Mac destination_mac;
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint source;
  net::Endpoint destination;
  std::string_view flags;  ///< TCP flag letters, or SCTP chunk names joined by '+'
  std::uint8_t ttl = 63;
  bool from_server = false;  ///< chooses sequence numbers and payload
};

/// Builds the whole frame with right checksums; null if `flags` has an unknown name, or the two
/// ends differ in family.
[[nodiscard]] std::optional<Bytes> build_frame(const ShortPacket& packet);
/// TCP flag bits from the letters F S R P A U E C.
[[nodiscard]] std::optional<std::uint8_t> tcp_flags_from_text(std::string_view text);
/// The number of an SCTP chunk type (RFC 9260, 3.2), as "INIT_ACK".
[[nodiscard]] std::optional<std::uint8_t> sctp_chunk_from_text(std::string_view text);
/// The name of an SCTP chunk type, or its number.
[[nodiscard]] std::string sctp_chunk_text(std::uint8_t type);

}  // namespace lb::replay
