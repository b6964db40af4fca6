// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/address.hpp"

/// How ipvsadm reads and writes numbers, addresses and ports.
namespace lb::cli {

/// A decimal number from `low` to `high`; leading blanks and a sign are taken, anything behind
/// the digits is not.
[[nodiscard]] std::optional<long> parse_number(const std::string& text, long low, long high);

/// An IPv4 address in any form of inet_aton(3), or a host name.
[[nodiscard]] std::optional<net::Be32> parse_ipv4_or_host(const std::string& text);

struct AddressText {
  net::IpAddress address;
  std::optional<net::Port> port;  ///< null: none was given
};
/// Reads "address", "address:port" or "[address]:port". The port is a number or a name of
/// /etc/services. Null if it is none of these; an IPv6 address in brackets needs a port.
[[nodiscard]] std::optional<AddressText> parse_address(std::string text, net::Protocol protocol);

/// "192.0.2.1:80", "[2001:db8::1]:80"; the port as a name if `protocol` is given and
/// /etc/services knows one.
[[nodiscard]] std::string endpoint_text(const net::IpAddress& address, net::Port port,
                                        std::optional<net::Protocol> protocol);

}  // namespace lb::cli
