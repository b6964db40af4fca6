// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <atomic>
#include <bit>

namespace lb::shim {

/// The function `name` that would be called without this library. `slot` keeps what was found.
template <class Function>
Function find_next(std::atomic<void*>& slot, const char* name) noexcept {
  // Two threads that find it at once write the same; nothing is read through the pointer that was
  // written by the other, so relaxed order is enough.
  auto* found = slot.load(std::memory_order_relaxed);
  if (found == nullptr) {
    found = ::dlsym(RTLD_NEXT, name);
    slot.store(found, std::memory_order_relaxed);
  }
  return std::bit_cast<Function>(found);
}

}  // namespace lb::shim

/// LB_NEXT(socket)(AF_INET, ...): the C library's function, not the one of this library.
#define LB_NEXT(function)                                  \
  (::lb::shim::find_next<decltype(&::function)>(           \
      []() noexcept -> std::atomic<void*>& {               \
        static constinit std::atomic<void*> slot{nullptr}; \
        return slot;                                       \
      }(),                                                 \
      #function))
