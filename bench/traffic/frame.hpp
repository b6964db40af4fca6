// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "traffic_abi.h"

namespace lb::bench {

/// Whom the packets are from and for. Addresses are text; those of clients count up from `client`.
struct Route {
  std::string client;
  std::string service;
  std::uint16_t port = 0;
  std::array<std::uint8_t, 6> source_mac{};
  std::array<std::uint8_t, 6> destination_mac{};
};

/// A plan with the frame of `route`, all else zero. Exits with a message if an address is wrong.
[[nodiscard]] traffic_plan plan_for(const Route& route);

/// "02:00:00:00:00:01" as bytes.
[[nodiscard]] std::array<std::uint8_t, 6> parse_mac(const std::string& text);

/// Prints what went wrong (and that of `error`, unless 0) and exits.
[[noreturn]] void fail(const std::string& what, int error = 0);

}  // namespace lb::bench
