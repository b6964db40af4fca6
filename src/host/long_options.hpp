// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <getopt.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lb::host {

/// The options of a command line, one after the other, as getopt_long reads them. One reader at a
/// time: getopt's state is the process's.
class LongOptions {
 public:
  /// `words[0]` names the program. `known` needs no entry of zeros at its end; the `val` of an
  /// option is its letter, which may stand for it behind one dash.
  LongOptions(std::vector<std::string> words, std::span<const option> known);
  LongOptions(const LongOptions&) = delete;
  LongOptions& operator=(const LongOptions&) = delete;

  /// The letter of the next option; null: there are no more, or there is a `fault`.
  [[nodiscard]] std::optional<char> next();
  /// What the option was given; empty if it takes nothing.
  [[nodiscard]] std::string value() const;
  /// The last word of the option, as it was written.
  [[nodiscard]] std::string word() const;
  /// What is wrong with the words, once `next` has returned null: an unknown option, one without
  /// its value, or a word that belongs to none.
  [[nodiscard]] const std::optional<std::string>& fault() const noexcept { return fault_; }

 private:
  std::vector<std::string> words_;
  std::vector<char*> argv_;
  std::vector<option> known_;
  std::string letters_;
  std::optional<std::string> fault_;
};

}  // namespace lb::host
