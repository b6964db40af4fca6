// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "net/address.hpp"

/// What a load balancer must understand of an FTP control connection (RFC 959, RFC 2428). All of
/// it is text from strangers: every function takes any bytes and looks at each once.
namespace lb::engine {

/// How a client asked the server to listen for the data connection.
enum class FtpPassive : std::uint8_t {
  kNone,
  kPassive,   ///< PASV, answered by 227 with address and port
  kExtended,  ///< EPSV, answered by 229 with a port
};

/// An endpoint that a command or an answer names, and where it stands in the text.
struct FtpEndpoint {
  net::Endpoint end;
  std::size_t offset = 0;
  std::size_t size = 0;
};

/// The request to listen anywhere in what a client sends; kNone if there is none or it is for
/// another family than `family`.
[[nodiscard]] FtpPassive find_passive_request(std::string_view text, net::Family family) noexcept;

/// "PORT h1,h2,h3,h4,p1,p2" at the beginning of `text`.
[[nodiscard]] std::optional<FtpEndpoint> parse_port_command(std::string_view text) noexcept;

/// "EPRT |1|192.0.2.1|6275|" at the beginning of `text`, with an address of `family`.
[[nodiscard]] std::optional<FtpEndpoint> parse_extended_port_command(std::string_view text,
                                                                     net::Family family) noexcept;

/// "227 ... (h1,h2,h3,h4,p1,p2)" at the beginning of `text`; the parentheses may be missing. The
/// place is that of the numbers.
[[nodiscard]] std::optional<FtpEndpoint> parse_passive_answer(std::string_view text) noexcept;

/// "229 ... (|||6446|)" at the beginning of `text`. The address, seldom given, is `server` if it is
/// not.
[[nodiscard]] std::optional<FtpEndpoint> parse_extended_passive_answer(
    std::string_view text, const net::IpAddress& server) noexcept;

/// An IPv4 endpoint as 227 and PORT write it: at most 23 characters.
struct FtpNumbers {
  static constexpr std::size_t kMaxSize = 23;
  char text[kMaxSize] = {};
  std::size_t size = 0;
  [[nodiscard]] std::string_view view() const noexcept { return {text, size}; }
};
[[nodiscard]] FtpNumbers write_ftp_numbers(const net::Endpoint& end) noexcept;

}  // namespace lb::engine
