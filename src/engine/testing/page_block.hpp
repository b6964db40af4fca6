// SPDX-License-Identifier: Apache-2.0
// A block of whole pages, for tests that look at memory as another process would find it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

namespace lb::engine::test {

class PageBlock {
 public:
  static constexpr std::size_t kPage = 4096;

  /// All zero.
  explicit PageBlock(std::size_t size) : size_((size + kPage - 1) / kPage * kPage) {
    fd_ = require(::memfd_create("block", MFD_CLOEXEC), "memfd_create");
    require(::ftruncate(fd_, static_cast<off_t>(size_)), "ftruncate");
    map(MAP_SHARED);
  }
  /// A copy of its own.
  PageBlock(const PageBlock& other) : PageBlock(other.size_) {
    std::memcpy(begin_, other.begin_, size_);
  }
  /// What `other` is now, seen through pages that are copied when they are written: cheap.
  /// `other` must outlive it, and not change meanwhile.
  [[nodiscard]] static PageBlock shadow_of(const PageBlock& other) { return {other, MAP_PRIVATE}; }
  PageBlock(PageBlock&& other) noexcept
      : size_(other.size_),
        fd_(std::exchange(other.fd_, -1)),
        begin_(std::exchange(other.begin_, nullptr)) {}
  PageBlock& operator=(const PageBlock&) = delete;
  ~PageBlock() {
    if (begin_ == nullptr) return;
    ::munmap(begin_, size_);
    ::close(fd_);
  }

  [[nodiscard]] std::byte* begin() const noexcept { return begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool contains(const void* address) const noexcept {
    return address >= begin_ && address < begin_ + size_;
  }

  /// Gives out parts of a block, each on a page of its own.
  class Parts {
   public:
    /// With null it only counts.
    explicit Parts(std::byte* begin) : begin_(begin) {}
    template <class Element>
    [[nodiscard]] std::span<Element> take(std::size_t count) {
      auto* first = begin_ == nullptr ? nullptr : reinterpret_cast<Element*>(begin_ + used_);
      used_ += (count * sizeof(Element) + kPage - 1) / kPage * kPage;
      return {first, begin_ == nullptr ? 0 : count};
    }
    [[nodiscard]] std::size_t used() const noexcept { return used_; }

   private:
    std::byte* begin_;
    std::size_t used_ = 0;
  };

 private:
  PageBlock(const PageBlock& other, int kind) : size_(other.size_) {
    fd_ = require(::dup(other.fd_), "dup");
    map(kind);
  }
  void map(int kind) {
    auto* place = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, kind, fd_, 0);
    require(place == MAP_FAILED ? -1 : 0, "mmap");
    begin_ = static_cast<std::byte*>(place);
  }
  static int require(int result, const char* what) {
    if (result < 0) {
      std::perror(what);
      std::abort();
    }
    return result;
  }

  std::size_t size_;
  int fd_ = -1;
  std::byte* begin_ = nullptr;
};

}  // namespace lb::engine::test
