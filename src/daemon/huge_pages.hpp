// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace lb::daemon {

/// Asks the kernel to back a large block of memory with huge pages where it can: in a table of
/// millions of connections every packet misses the TLB otherwise. Does nothing for small blocks,
/// or where transparent huge pages are switched off.
void ask_for_huge_pages(void* block, std::size_t size) noexcept;

}  // namespace lb::daemon
