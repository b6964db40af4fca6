// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace lb::net {

/// True if `size` bytes at `offset` lie inside `bytes`.
[[nodiscard]] constexpr bool holds(std::span<const std::byte> bytes, std::size_t offset,
                                   std::size_t size) noexcept {
  return offset <= bytes.size() && size <= bytes.size() - offset;
}

/// Copies a T out of `bytes`. The caller has made sure (`holds`) that it is there.
template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] T load(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

/// Copies `value` into `bytes`. The caller has made sure (`holds`) that there is room.
template <class T>
requires std::is_trivially_copyable_v<T>
void store(std::span<std::byte> bytes, std::size_t offset, const T& value) noexcept {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

/// The bytes as characters; they need not be text.
[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace lb::net
