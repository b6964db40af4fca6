// SPDX-License-Identifier: Apache-2.0
#include "cli/address_text.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace lb::cli {
namespace {

const char* protocol_name(net::Protocol protocol) {
  switch (protocol) {
    case net::Protocol::kTcp:
      return "tcp";
    case net::Protocol::kUdp:
      return "udp";
    case net::Protocol::kSctp:
      return "sctp";
    default:
      return nullptr;
  }
}

// The re-entrant look-ups want a buffer and say ERANGE when it is too small.
constexpr std::size_t kLookupBuffer = 16384;

std::optional<net::Port> port_by_name(const std::string& name, net::Protocol protocol) {
  const char* const protocol_text = protocol_name(protocol);
  if (protocol_text == nullptr) return std::nullopt;
  std::vector<char> buffer(kLookupBuffer);
  servent entry{};
  servent* found = nullptr;
  if (getservbyname_r(name.c_str(), protocol_text, &entry, buffer.data(), buffer.size(), &found) !=
          0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return net::Port::from_network(static_cast<std::uint16_t>(found->s_port));
}

std::optional<std::string> name_of_port(net::Port port, net::Protocol protocol) {
  const char* const protocol_text = protocol_name(protocol);
  if (protocol_text == nullptr) return std::nullopt;
  std::vector<char> buffer(kLookupBuffer);
  servent entry{};
  servent* found = nullptr;
  if (getservbyport_r(port.to_network(), protocol_text, &entry, buffer.data(), buffer.size(),
                      &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return std::string(found->s_name);
}

std::optional<net::Be32> resolve_ipv4(const std::string& name) {
  std::vector<char> buffer(kLookupBuffer);
  hostent entry{};
  hostent* found = nullptr;
  int error = 0;
  if (gethostbyname2_r(name.c_str(), AF_INET, &entry, buffer.data(), buffer.size(), &found,
                       &error) != 0 ||
      found == nullptr || found->h_addrtype != AF_INET || found->h_addr_list[0] == nullptr) {
    return std::nullopt;
  }
  std::uint32_t raw = 0;
  std::memcpy(&raw, found->h_addr_list[0], sizeof raw);
  return net::Be32::from_network(raw);
}

std::optional<net::IpAddress> parse_ipv6(const std::string& text) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return std::nullopt;
  return net::IpAddress::v6(bytes);
}

bool all_digits(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<long> parse_number(const std::string& text, long low, long high) {
  if (text.empty()) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (errno != 0 || end == text.c_str() || *end != '\0' || value < low || value > high) {
    return std::nullopt;
  }
  return value;
}

std::optional<net::Be32> parse_ipv4_or_host(const std::string& text) {
  in_addr address{};
  if (inet_aton(text.c_str(), &address) != 0) return net::Be32::from_network(address.s_addr);
  return resolve_ipv4(text);
}

std::optional<AddressText> parse_address(std::string text, net::Protocol protocol) {
  if (all_digits(text)) return std::nullopt;  // a port alone, or nothing
  std::optional<std::string> port_text;
  if (text.front() == '[') {
    const auto close = text.find(']');
    if (close == std::string::npos || text.compare(close + 1, 1, ":") != 0) return std::nullopt;
    port_text = text.substr(close + 2);
    text = text.substr(1, close - 1);
  }

  AddressText result;
  if (const auto address = parse_ipv6(text)) {
    result.address = *address;
  } else {
    // Behind an IPv4 address in brackets the port is not read: ipvsadm has cut it off by now.
    port_text.reset();
    if (const auto colon = text.rfind(':'); colon != std::string::npos) {
      port_text = text.substr(colon + 1);
      text.resize(colon);
    }
    const auto ipv4 = parse_ipv4_or_host(text);
    if (!ipv4) return std::nullopt;
    result.address = net::IpAddress::v4(*ipv4);
  }

  if (port_text) {
    if (const auto number = parse_number(*port_text, 0, 65535)) {
      result.port = net::Port::from_host(static_cast<std::uint16_t>(*number));
    } else {
      result.port = port_by_name(*port_text, protocol);
      if (!result.port) return std::nullopt;
    }
  }
  return result;
}

std::string endpoint_text(const net::IpAddress& address, net::Port port,
                          std::optional<net::Protocol> protocol) {
  std::string port_text = std::to_string(port.to_host());
  if (protocol) {
    if (auto name = name_of_port(port, *protocol)) port_text = std::move(*name);
  }
  return address.is_v4() ? fmt::format("{}:{}", address.to_text(), port_text)
                         : fmt::format("[{}]:{}", address.to_text(), port_text);
}

}  // namespace lb::cli
