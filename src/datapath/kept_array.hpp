// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "datapath/outcome.hpp"
#include "datapath/pins.hpp"

namespace lb::datapath {

/// Memory that outlives the process is pinned BPF arrays of so large elements.
inline constexpr std::size_t kKeptPage = 4096;

/// The array that is pinned under `name`; invalid: there is none of just `size` bytes.
[[nodiscard]] FileDescriptor find_kept(const Pins& pins, std::string_view name, std::size_t size);

/// Makes an array of `size` bytes (a multiple of the page), all zero. Not pinned yet.
[[nodiscard]] Outcome<FileDescriptor> make_kept(std::size_t size);

/// Maps an array of `size` bytes; at `where`, in the place of what is mapped there, unless that is
/// null. The mapping holds the array by itself.
[[nodiscard]] Outcome<void*> map_kept(const FileDescriptor& array, std::size_t size, void* where);

}  // namespace lb::datapath
