// SPDX-License-Identifier: Apache-2.0
#include "engine/ftp_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace lb::engine {
namespace {

constexpr std::size_t kNumbers = 6;
constexpr std::uint32_t kMaxPort = 0xffff;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// `word` is in lower case.
bool begins_with(std::string_view text, std::string_view word) noexcept {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(),
                                                  [](char a, char b) { return a == lower(b); });
}

/// Reads text from the front; every step fails at the end.
class Cursor {
 public:
  Cursor(std::string_view text, std::size_t at) noexcept : text_(text), at_(at) {}

  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] bool is_at_end() const noexcept { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const noexcept { return is_at_end() ? '\0' : text_[at_]; }
  void skip() noexcept { ++at_; }
  [[nodiscard]] bool take(char c) noexcept {
    if (is_at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  /// A decimal number up to `max`; it must not be where the text ends, for it may go on.
  [[nodiscard]] std::optional<std::uint32_t> number(std::uint32_t max) noexcept {
    if (!is_digit(peek())) return std::nullopt;
    std::uint32_t value = 0;
    for (; is_digit(peek()); ++at_) {
      value = value * 10 + static_cast<std::uint32_t>(text_[at_] - '0');
      if (value > max) return std::nullopt;
    }
    if (is_at_end()) return std::nullopt;
    return value;
  }
  /// What comes before the next `c`, which is taken too.
  [[nodiscard]] std::optional<std::string_view> until(char c) noexcept {
    const auto found = text_.find(c, at_);
    if (found == std::string_view::npos) return std::nullopt;
    const auto result = text_.substr(at_, found - at_);
    at_ = found + 1;
    return result;
  }

 private:
  std::string_view text_;
  std::size_t at_;
};

// h1,h2,h3,h4,p1,p2
std::optional<FtpEndpoint> take_numbers(Cursor cursor) noexcept {
  const auto begin = cursor.at();
  std::array<std::uint8_t, kNumbers> values{};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    if (i != 0 && !cursor.take(',')) return std::nullopt;
    const auto value = cursor.number(0xff);
    if (!value) return std::nullopt;
    values[i] = static_cast<std::uint8_t>(*value);
  }
  const auto word = [&](std::size_t i) { return static_cast<std::uint32_t>(values[i]); };
  const auto address = word(0) << 24 | word(1) << 16 | word(2) << 8 | word(3);
  const auto port = static_cast<std::uint16_t>(word(4) << 8 | word(5));
  if (port == 0) return std::nullopt;
  return FtpEndpoint{
      .end = {net::IpAddress::v4(net::Be32::from_host(address)), net::Port::from_host(port)},
      .offset = begin,
      .size = cursor.at() - begin};
}

// The address between two delimiters of EPRT and, seldom, 229: family number, delimiter, text.
std::optional<net::IpAddress> take_address(Cursor& cursor, char delimiter,
                                           net::Family family) noexcept {
  if (!cursor.take(family == net::Family::kIpv6 ? '2' : '1') || !cursor.take(delimiter)) {
    return std::nullopt;
  }
  const auto text = cursor.until(delimiter);
  if (!text) return std::nullopt;
  const auto address = net::IpAddress::from_text(*text);
  if (!address || address->family() != family) return std::nullopt;
  return address;
}

// <d>family<d>address<d>port<d>, where family and address may both be missing if there is a
// `known` address (RFC 2428, 2 and 3).
std::optional<FtpEndpoint> take_extended(Cursor cursor, net::Family family,
                                         const net::IpAddress* known) noexcept {
  const auto begin = cursor.at();
  const char delimiter = cursor.peek();
  if (delimiter < '!' || delimiter > '~' || is_digit(delimiter)) return std::nullopt;
  cursor.skip();
  std::optional<net::IpAddress> address;
  if (cursor.take(delimiter)) {
    if (known == nullptr || !cursor.take(delimiter)) return std::nullopt;
    address = *known;
  } else {
    address = take_address(cursor, delimiter, family);
  }
  if (!address) return std::nullopt;
  const auto port = cursor.number(kMaxPort);
  if (!port || *port == 0 || !cursor.take(delimiter)) return std::nullopt;
  return FtpEndpoint{.end = {*address, net::Port::from_host(static_cast<std::uint16_t>(*port))},
                     .offset = begin,
                     .size = cursor.at() - begin};
}

// Goes behind the first run of `mark`; false if the text ends before that.
bool skip_behind(Cursor& cursor, char mark) noexcept {
  while (!cursor.is_at_end() && cursor.peek() != mark) cursor.skip();
  while (cursor.peek() == mark && !cursor.is_at_end()) cursor.skip();
  return !cursor.is_at_end();
}

bool is_extended_request(std::string_view text, net::Family family) noexcept {
  if (!begins_with(text, "epsv") || text.size() < 6) return false;
  if (text[4] == '\r') return true;
  const char number = family == net::Family::kIpv6 ? '2' : '1';
  return text.size() >= 7 && text[4] == ' ' && text[5] == number && text[6] == '\r';
}

}  // namespace

FtpPassive find_passive_request(std::string_view text, net::Family family) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto rest = text.substr(at);
    if (family == net::Family::kIpv4 && begins_with(rest, "pasv\r\n")) return FtpPassive::kPassive;
    if (is_extended_request(rest, family)) return FtpPassive::kExtended;
  }
  return FtpPassive::kNone;
}

std::optional<FtpEndpoint> parse_port_command(std::string_view text) noexcept {
  constexpr std::string_view kCommand = "port ";
  if (!begins_with(text, kCommand)) return std::nullopt;
  Cursor cursor(text, kCommand.size());
  while (cursor.take(' ')) {
  }
  return take_numbers(cursor);
}

std::optional<FtpEndpoint> parse_extended_port_command(std::string_view text,
                                                       net::Family family) noexcept {
  constexpr std::string_view kCommand = "eprt ";
  if (!begins_with(text, kCommand)) return std::nullopt;
  Cursor cursor(text, kCommand.size());
  while (cursor.take(' ')) {
  }
  return take_extended(cursor, family, nullptr);
}

std::optional<FtpEndpoint> parse_passive_answer(std::string_view text) noexcept {
  constexpr std::string_view kCode = "227 ";
  if (!begins_with(text, kCode)) return std::nullopt;
  Cursor cursor(text, kCode.size());
  while (!cursor.is_at_end() && cursor.peek() != '(' && !is_digit(cursor.peek())) cursor.skip();
  while (cursor.take('(')) {
  }
  return take_numbers(cursor);
}

std::optional<FtpEndpoint> parse_extended_passive_answer(std::string_view text,
                                                         const net::IpAddress& server) noexcept {
  constexpr std::string_view kCode = "229 ";
  if (!begins_with(text, kCode)) return std::nullopt;
  Cursor cursor(text, kCode.size());
  if (!skip_behind(cursor, '(')) return std::nullopt;
  return take_extended(cursor, server.family(), &server);
}

FtpNumbers write_ftp_numbers(const net::Endpoint& end) noexcept {
  const auto& address = end.address.bytes();
  const unsigned port = end.port.to_host();
  const std::array<unsigned, kNumbers> values{address[0], address[1], address[2],
                                              address[3], port >> 8,  port & 0xff};
  FtpNumbers result;
  char* at = result.text;
  char* const last = result.text + FtpNumbers::kMaxSize;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    if (i != 0) *at++ = ',';
    at = std::to_chars(at, last, values[i]).ptr;
  }
  result.size = static_cast<std::size_t>(at - result.text);
  return result;
}

}  // namespace lb::engine
