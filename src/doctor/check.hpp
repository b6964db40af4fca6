// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/facts.hpp"

namespace lb::doctor {

enum class Severity : std::uint8_t {
  kNote,     ///< good to know
  kWarning,  ///< may break or costs much
  kError,    ///< does break
};

[[nodiscard]] std::string_view name_of(Severity severity);

struct Finding {
  Severity severity = Severity::kNote;
  std::string check;  ///< the name of the check
  std::string what;   ///< what is wrong, and what comes of it
  std::string remedy;
};

/// Collects what one check finds.
class Findings {
 public:
  void note(std::string what, std::string remedy) { add(Severity::kNote, what, remedy); }
  void warning(std::string what, std::string remedy) { add(Severity::kWarning, what, remedy); }
  void error(std::string what, std::string remedy) { add(Severity::kError, what, remedy); }

  /// The check whose findings follow.
  void set_check(std::string_view name) { check_ = name; }
  [[nodiscard]] const std::vector<Finding>& all() const { return all_; }

 private:
  void add(Severity severity, std::string& what, std::string& remedy) {
    all_.push_back({.severity = severity,
                    .check = check_,
                    .what = std::move(what),
                    .remedy = std::move(remedy)});
  }
  std::string check_;
  std::vector<Finding> all_;
};

/// One thing that breaks LVS in practice.
struct Check {
  std::string_view name;
  std::string_view question;  ///< what it looks at
  void (*on_director)(const DirectorFacts& director, const Facts& facts, Findings& findings);
  void (*on_server)(const ServerFacts& server, const Facts& facts, Findings& findings);
};

/// Every check. A new one is a function and a line of this table.
[[nodiscard]] std::span<const Check> all_checks();

/// Runs every check that concerns `facts`.
[[nodiscard]] std::vector<Finding> examine(const Facts& facts);

}  // namespace lb::doctor
