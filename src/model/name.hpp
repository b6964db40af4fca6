// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <string_view>

namespace lb::model {

/// A short name without allocation: of a scheduler or a persistence engine (at most 15
/// characters, IP_VS_SCHEDNAME_MAXLEN less its terminator).
class Name {
 public:
  static constexpr std::size_t kMaxLength = 15;

  constexpr Name() = default;
  /// Longer text is cut to `kMaxLength`.
  constexpr Name(std::string_view text) noexcept  // NOLINT(google-explicit-constructor)
      : length_(static_cast<unsigned char>(std::min(text.size(), kMaxLength))) {
    std::copy_n(text.begin(), length_, chars_.begin());
  }
  constexpr Name(const char* text) noexcept  // NOLINT(google-explicit-constructor)
      : Name(std::string_view(text)) {}

  [[nodiscard]] constexpr std::string_view view() const noexcept {
    return {chars_.data(), length_};
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return length_ == 0; }

  friend constexpr bool operator==(const Name&, const Name&) = default;

 private:
  std::array<char, kMaxLength> chars_{};
  unsigned char length_ = 0;
};

}  // namespace lb::model
