// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "realserver/setup.hpp"

namespace lb::realserver {

struct UpOptions {
  Setup setup;  ///< of `up`
  std::filesystem::path state = "/var/lib/sluice/realserver";
  bool is_forced = false;
  bool is_json = false;
  bool is_help = false;
};

/// Reads the words of `up`, `down` or `status`; `words[0]` is the command. The error is a sentence.
[[nodiscard]] tl::expected<UpOptions, std::string> parse_up_options(std::vector<std::string> words);

}  // namespace lb::realserver
