// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "datapath/datapath.hpp"
#include "datapath/endpoint_pieces.hpp"
#include "datapath/outcome.hpp"
#include "datapath/pins.hpp"
#include "engine/director_memory.hpp"

namespace lb::datapath {

/// A director's memory that outlives the process: a pinned BPF array, mapped, and pieces of the
/// same kind for the endpoints.
class StateMemory {
 public:
  /// Opens the memory that another director left, or makes a new one (all zero) if there is none
  /// or it is of another size or build. `pins` must outlive it.
  [[nodiscard]] static Outcome<std::unique_ptr<StateMemory>> open(const Pins& pins,
                                                                  std::size_t connections,
                                                                  const Log& log);
  ~StateMemory();
  StateMemory(const StateMemory&) = delete;
  StateMemory& operator=(const StateMemory&) = delete;

  [[nodiscard]] const engine::DirectorMemory& memory() const noexcept { return memory_; }
  /// Another director's state was there, but this build (or table size) cannot take it over.
  [[nodiscard]] bool has_discarded() const noexcept { return has_discarded_; }

 private:
  StateMemory() = default;
  [[nodiscard]] bool take_over(const Pins& pins, std::size_t connections, const Log& log);
  [[nodiscard]] Outcome<void> reserve(const Pins& pins, std::size_t connections, const Log& log);
  [[nodiscard]] Outcome<void> map(const FileDescriptor& array, std::size_t connections);

  std::unique_ptr<EndpointPieces> virtual_ends_;
  std::unique_ptr<EndpointPieces> real_ends_;
  void* begin_ = nullptr;
  std::size_t size_ = 0;
  engine::DirectorMemory memory_;
  bool has_discarded_ = false;
};

}  // namespace lb::datapath
