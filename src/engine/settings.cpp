// SPDX-License-Identifier: Apache-2.0
#include "engine/settings.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace lb::engine {
namespace {

/// Takes a number off the front of `text`; -1 if there is none.
std::int64_t take_number(std::string_view& text) noexcept {
  std::uint32_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return -1;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return number;
}

bool is_list(std::string_view text) noexcept {
  std::int64_t last = -1;
  while (true) {
    const auto first = take_number(text);
    if (first <= last) return false;
    last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number(text);
      if (last < first) return false;
    }
    if (text.empty()) return true;
    if (!text.starts_with(',')) return false;
    text.remove_prefix(1);
  }
}

}  // namespace

bool CpuList::assign(std::string_view text) noexcept {
  if (text.size() >= text_.size() || (!text.empty() && !is_list(text))) return false;
  text_ = {};
  std::copy(text.begin(), text.end(), text_.begin());
  return true;
}

}  // namespace lb::engine
