// SPDX-License-Identifier: Apache-2.0
#include "daemon/huge_pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace lb::daemon {

void ask_for_huge_pages(void* block, std::size_t size) noexcept {
  // A huge page is 2 MiB on most machines; a block with none or one of them gains nothing.
  constexpr std::size_t kLeast = std::size_t{4} << 20U;
  if (size < kLeast) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(block);
  const auto first = (start + page - 1) & ~(page - 1);
  const auto last = (start + size) & ~(page - 1);
  // It fails where the kernel has no huge pages; small ones do, only slower.
  static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
}

}  // namespace lb::daemon
