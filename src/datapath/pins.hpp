// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "datapath/file_descriptor.hpp"
#include "datapath/outcome.hpp"

namespace lb::datapath {

/// The directory of the BPF file system where the director of this network namespace pins what
/// outlives it. Held by one process at a time.
class Pins {
 public:
  /// Makes the directory and takes hold of it. Fails without a BPF file system, or while another
  /// director has it.
  [[nodiscard]] static Outcome<std::unique_ptr<Pins>> open();
  ~Pins();
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  [[nodiscard]] std::string path(std::string_view name) const;
  /// The object pinned under `name`; invalid: there is none.
  [[nodiscard]] FileDescriptor get(std::string_view name) const;
  [[nodiscard]] Outcome<void> pin(int object, std::string_view name) const;
  void remove(std::string_view name) const noexcept;
  /// Removes all pins: what nobody holds open goes.
  void remove_all() const noexcept;
  /// At the end pins are left for the next director; otherwise they are removed.
  void keep(bool wanted) noexcept { is_kept_ = wanted; }
  [[nodiscard]] bool is_kept() const noexcept { return is_kept_; }

 private:
  explicit Pins(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
  FileDescriptor hold_;
  bool is_kept_ = false;
};

}  // namespace lb::datapath
