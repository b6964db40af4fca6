// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <arpa/inet.h>

#include <algorithm>

namespace lb::net {
namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<IpAddress> IpAddress::from_text(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  std::copy(text.begin(), text.end(), buffer.begin());

  IpAddress result;
  if (inet_pton(AF_INET, buffer.data(), result.bytes_.data()) == 1) return result;
  result.bytes_ = {};
  result.family_ = Family::kIpv6;
  if (inet_pton(AF_INET6, buffer.data(), result.bytes_.data()) == 1) return result;
  return std::nullopt;
}

bool IpAddress::is_unspecified() const noexcept {
  return std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_multicast() const noexcept {
  return is_v4() ? (bytes_[0] & 0xf0U) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_broadcast() const noexcept {
  return is_v4() && std::all_of(bytes_.begin(), bytes_.begin() + 4,
                                [](std::uint8_t byte) { return byte == 0xff; });
}

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[0] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.begin() + 15,
                                        [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_link_local_v6() const noexcept {
  return !is_v4() && bytes_[0] == 0xfe && (bytes_[1] & 0xc0U) == 0x80;
}

IpAddress IpAddress::prefix(unsigned length) const noexcept {
  IpAddress result = *this;
  for (std::size_t i = length / 8; i < size(); ++i) {
    const unsigned kept = i == length / 8 ? length % 8 : 0;
    result.bytes_[i] = static_cast<std::uint8_t>(result.bytes_[i] & (0xff00U >> kept));
  }
  return result;
}

std::string IpAddress::to_text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  // Cannot fail: the family is one of two and the buffer is large enough for both.
  const char* text = inet_ntop(static_cast<int>(family_), bytes_.data(), buffer.data(),
                               static_cast<socklen_t>(buffer.size()));
  return text == nullptr ? std::string() : std::string(text);
}

std::optional<Mac> Mac::from_text(std::string_view text) noexcept {
  constexpr std::size_t kLength = 17;  // "00:00:00:00:00:00"
  if (text.size() != kLength) return std::nullopt;
  Mac result;
  for (std::size_t i = 0; i < result.bytes.size(); ++i) {
    const int high = hex_digit(text[i * 3]);
    const int low = hex_digit(text[i * 3 + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    if (i + 1 < result.bytes.size() && text[i * 3 + 2] != ':') return std::nullopt;
    result.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return result;
}

std::string Mac::to_text() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    if (!text.empty()) text += ':';
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 0xfU];
  }
  return text;
}

}  // namespace lb::net
