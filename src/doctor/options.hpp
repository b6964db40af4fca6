// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/address.hpp"
#include "realserver/setup.hpp"

namespace lb::doctor {

struct Options {
  /// What the host is as a real server; what is not said here is looked up.
  std::optional<realserver::Mode> mode;
  std::vector<net::IpAddress> vips;
  std::vector<std::string> interfaces;
  std::optional<net::IpAddress> director;
  std::filesystem::path state = "/var/lib/sluice/realserver";
  bool is_json = false;
  bool is_list = false;
  bool is_help = false;

  [[nodiscard]] bool tells_of_server() const { return mode || !vips.empty(); }
};

/// `words[0]` is the command. The error is a sentence.
[[nodiscard]] tl::expected<Options, std::string> parse_options(std::vector<std::string> words);

}  // namespace lb::doctor
