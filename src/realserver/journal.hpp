// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host/outcome.hpp"
#include "realserver/setup.hpp"

namespace lb::realserver {

/// What was changed on this host, written down before it is done.
///
/// The file has a JSON object a line: first what was asked for, then each change, at last a mark
/// that all are done. A line is on the disk before its change begins, so after a kill at any point
/// every change that may have happened is in the file; a last line that is cut off stands for a
/// change that did not begin. Undoing looks at each thing first and is harmless for what did not
/// happen.
class Journal {
 public:
  /// Of one network namespace of one run of the machine; what is left of another is void.
  struct Origin {
    std::string boot;
    std::uint64_t network_namespace = 0;
    friend bool operator==(const Origin&, const Origin&) = default;
  };

  /// Null if there is no such file. Damage anywhere but in the last line is an error.
  [[nodiscard]] static host::Outcome<std::optional<Journal>> load(std::filesystem::path path);
  /// Begins a new one, replacing what is there.
  [[nodiscard]] static host::Outcome<Journal> create(std::filesystem::path path, Origin origin,
                                                     Setup setup);

  [[nodiscard]] host::Outcome<void> append(const Change& change);
  [[nodiscard]] host::Outcome<void> complete();
  [[nodiscard]] host::Outcome<void> remove() const;

  [[nodiscard]] const Origin& origin() const { return origin_; }
  [[nodiscard]] const Setup& setup() const { return setup_; }
  [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }
  [[nodiscard]] bool is_complete() const { return is_complete_; }

 private:
  [[nodiscard]] host::Outcome<void> append_line(const std::string& line);

  std::filesystem::path path_;
  std::uintmax_t size_ = 0;  ///< of the whole lines
  Origin origin_;
  Setup setup_;
  std::vector<Change> changes_;
  bool is_complete_ = false;
};

}  // namespace lb::realserver
