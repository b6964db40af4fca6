// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.hpp"
#include "realserver/decap.hpp"

namespace lb::realserver {

/// How the director forwards to this real server.
enum class Mode : std::uint8_t { kDirect, kTunnel, kNat };

[[nodiscard]] std::string_view name_of(Mode mode);  ///< "dr", "tun", "nat"
[[nodiscard]] std::optional<Mode> mode_of(std::string_view name);

/// What `up` is asked for.
struct Setup {
  Mode mode = Mode::kDirect;
  std::vector<net::IpAddress> vips;             ///< sorted, each once
  std::vector<std::string> interfaces;          ///< by which the director's packets come in
  std::optional<net::IpAddress> director = {};  ///< its address on the link of this host
  XdpMode xdp_mode = XdpMode::kAuto;            ///< of the decapsulation
  std::uint16_t gue_port = 0;                   ///< 0: no GUE
  friend bool operator==(const Setup&, const Setup&) = default;
};

/// One thing that is changed on the host.
struct Change {
  enum class Kind : std::uint8_t {
    kSysctl,   ///< `what` is its path, `before` and `after` its values
    kAddress,  ///< `what` becomes an address of lo
    kDecap,    ///< the decapsulation is attached to interface `what`
  };
  Kind kind = Kind::kSysctl;
  std::string what;
  std::string before = {};
  std::string after = {};
  friend bool operator==(const Change&, const Change&) = default;
};

/// A change in words.
[[nodiscard]] std::string text_of(const Change& change);

}  // namespace lb::realserver
