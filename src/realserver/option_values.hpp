// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "net/address.hpp"
#include "realserver/setup.hpp"

/// What options are given, read from a word. The error is a sentence.
namespace lb::realserver {

[[nodiscard]] tl::expected<net::IpAddress, std::string> parse_address(std::string_view word);
[[nodiscard]] tl::expected<Mode, std::string> parse_mode(std::string_view word);
[[nodiscard]] tl::expected<XdpMode, std::string> parse_xdp_mode(std::string_view word);
/// 1..65535
[[nodiscard]] tl::expected<std::uint16_t, std::string> parse_port(std::string_view word);

}  // namespace lb::realserver
