// SPDX-License-Identifier: Apache-2.0
#include "host/long_options.hpp"

#include <cstddef>
#include <utility>

namespace lb::host {

LongOptions::LongOptions(std::vector<std::string> words, std::span<const option> known)
    : words_(std::move(words)), known_(known.begin(), known.end()), letters_(":") {
  for (auto& word : words_) argv_.push_back(word.data());
  argv_.push_back(nullptr);
  for (const auto& option : known) {
    letters_ += static_cast<char>(option.val);
    if (option.has_arg == required_argument) letters_ += ':';
  }
  known_.push_back({nullptr, 0, nullptr, 0});
  optind = 0;  // glibc: start anew
  opterr = 0;
}

std::optional<char> LongOptions::next() {
  const auto count = static_cast<int>(words_.size());
  const int letter = ::getopt_long(count, argv_.data(), letters_.c_str(), known_.data(), nullptr);
  if (letter == ':') {
    fault_ = word() + " needs a value";
  } else if (letter == '?') {
    fault_ = "unknown option " + word();
  } else if (letter != -1) {
    return static_cast<char>(letter);
  } else if (optind < count) {
    fault_ = std::string("unexpected argument '") + argv_[static_cast<std::size_t>(optind)] + "'";
  }
  return std::nullopt;
}

std::string LongOptions::value() const { return optarg == nullptr ? "" : optarg; }

// Not out of `words_`: getopt moves words that are no options to the end.
std::string LongOptions::word() const { return argv_[static_cast<std::size_t>(optind - 1)]; }

}  // namespace lb::host
