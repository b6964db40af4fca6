// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

namespace lb::engine {

/// Told of a large block of memory before it is first touched, so that whoever runs the engine can
/// have it in huge pages; null: nobody is told.
using BlockHint = void (*)(void* block, std::size_t size) noexcept;

/// A fixed array in one zeroed allocation on a cache line boundary.
///
/// Unlike a vector it writes nothing at construction: the pages of a large table come zeroed from
/// the kernel when first touched, so that a table for millions of connections starts at once and
/// costs memory only as it fills. Elements start as zero bytes, whatever their member
/// initialisers say.
template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;
  static_assert(alignof(T) <= kAlignment);

  /// Fails as a vector does: by std::bad_alloc.
  explicit ZeroedArray(std::size_t size, BlockHint hint = nullptr) : size_(size) {
    const bool fits = size <= (std::numeric_limits<std::size_t>::max() / 2) / sizeof(T);
    std::size_t room = fits ? size * sizeof(T) + kAlignment : 0;
    memory_ = fits ? std::calloc(1, room) : nullptr;
    if (memory_ == nullptr) {
      // Code without exceptions cannot throw, but operator new throws for it when it is asked for
      // more than any allocator has. Volatile, lest the compiler warn of the size.
      volatile std::size_t impossible = std::numeric_limits<std::size_t>::max();
      static_cast<void>(::operator new(impossible));
    }
    void* aligned = memory_;
    data_ = static_cast<T*>(std::align(kAlignment, size * sizeof(T), aligned, room));
    if (hint != nullptr) hint(data_, size * sizeof(T));
  }
  ~ZeroedArray() { std::free(memory_); }
  ZeroedArray(const ZeroedArray&) = delete;
  ZeroedArray& operator=(const ZeroedArray&) = delete;

  [[nodiscard]] T& operator[](std::size_t index) noexcept { return data_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return data_[index]; }
  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void* memory_ = nullptr;
  T* data_ = nullptr;
  std::size_t size_;
};

}  // namespace lb::engine
