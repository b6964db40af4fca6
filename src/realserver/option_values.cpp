// SPDX-License-Identifier: Apache-2.0
#include "realserver/option_values.hpp"

#include <fmt/format.h>

#include <charconv>

namespace lb::realserver {

tl::expected<net::IpAddress, std::string> parse_address(std::string_view word) {
  const auto address = net::IpAddress::from_text(word);
  if (!address) return tl::unexpected(fmt::format("'{}' is not an address", word));
  return *address;
}

tl::expected<Mode, std::string> parse_mode(std::string_view word) {
  const auto mode = mode_of(word);
  if (!mode) return tl::unexpected(fmt::format("unknown mode '{}' (known: dr, tun, nat)", word));
  return *mode;
}

tl::expected<XdpMode, std::string> parse_xdp_mode(std::string_view word) {
  if (word == "auto") return XdpMode::kAuto;
  if (word == "native") return XdpMode::kNative;
  if (word == "generic") return XdpMode::kGeneric;
  return tl::unexpected(fmt::format("unknown XDP mode '{}' (known: auto, native, generic)", word));
}

tl::expected<std::uint16_t, std::string> parse_port(std::string_view word) {
  std::uint16_t port = 0;
  const auto* const last = word.data() + word.size();
  const auto [end, failed] = std::from_chars(word.data(), last, port);
  if (failed != std::errc{} || end != last || port == 0) {
    return tl::unexpected(fmt::format("'{}' is not a port", word));
  }
  return port;
}

}  // namespace lb::realserver
