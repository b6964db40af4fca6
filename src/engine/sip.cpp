// SPDX-License-Identifier: Apache-2.0
#include "engine/sip.hpp"

#include <algorithm>

namespace lb::engine {
namespace {

bool is_alphabetic(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_line_end(char c) noexcept { return c == '\r' || c == '\n'; }
bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }

// "word" of RFC 3261, 25.1.
bool is_word(char c) noexcept {
  constexpr std::string_view kMarks = "-.!%*_+`'~()<>:\\\"/[]?{}";
  return is_alphabetic(c) || (c >= '0' && c <= '9') || kMarks.find(c) != std::string_view::npos;
}

bool begins_with(std::string_view text, std::string_view lower_case) noexcept {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
         });
}

// Size of the header's name if `line` begins with it.
std::size_t name_size(std::string_view line) noexcept {
  constexpr std::string_view kName = "call-id";
  if (begins_with(line, kName)) return kName.size();
  const bool is_short = line.size() > 1 && begins_with(line, "i") && !is_alphabetic(line[1]);
  return is_short ? 1 : 0;
}

std::size_t skip_line_end(std::string_view text, std::size_t at) noexcept {
  if (at < text.size() && text[at] == '\r') ++at;
  // CR, LF, or both: RFC 2543 took each.
  if (at < text.size() && text[at] == '\n') ++at;
  return at;
}

// Blanks, with at most one line end among them if the next line goes on with a blank.
std::size_t skip_blanks(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && is_blank(text[at])) ++at;
  const auto next = skip_line_end(text, at);
  if (next == at || next >= text.size() || !is_blank(text[next])) return at;
  at = next;
  while (at < text.size() && is_blank(text[at])) ++at;
  return at;
}

std::size_t word_end(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && is_word(text[at])) ++at;
  return at;
}

// word ["@" word]; empty if it is neither.
std::string_view take_call_id(std::string_view text, std::size_t at) noexcept {
  const auto local_end = word_end(text, at);
  if (local_end == at || local_end >= text.size() || text[local_end] != '@') {
    return text.substr(at, local_end - at);
  }
  const auto end = word_end(text, local_end + 1);
  if (end == local_end + 1) return {};
  return text.substr(at, end - at);
}

}  // namespace

std::optional<std::string_view> find_call_id(std::string_view message) noexcept {
  // The first line says what is asked; headers begin behind it.
  for (std::size_t at = 0; at < message.size();) {
    if (!is_line_end(message[at])) {
      ++at;
      continue;
    }
    at = skip_line_end(message, at);
    const auto size = name_size(message.substr(std::min(at, message.size())));
    if (size == 0) continue;
    auto value = skip_blanks(message, at + size);
    if (value >= message.size() || message[value] != ':') return std::nullopt;
    value = skip_blanks(message, value + 1);
    const auto id = take_call_id(message, std::min(value, message.size()));
    if (id.empty()) continue;
    const auto end = value + id.size();
    if (id.size() > kMaxCallId || end >= message.size() || !is_line_end(message[end])) {
      return std::nullopt;
    }
    return id;
  }
  return std::nullopt;
}

}  // namespace lb::engine
