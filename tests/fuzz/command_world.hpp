// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "engine/director.hpp"
#include "fuzz/expect.hpp"
#include "fuzz/world.hpp"

namespace lb::fuzz {

/// A director that ipvsadm commands are given to, in one process.
class CommandWorld {
 public:
  CommandWorld()
      : director_({.connection_capacity = 16, .missing_schedulers = {}}, network_),
        handler_(director_, nullptr),
        transport_(handler_) {
    fill(network_);
    director_.advance({std::chrono::hours(1)});
  }

  /// Runs `ipvsadm WORD...` and checks that it ends as a program does.
  cli::ProgramResult run(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), "ipvsadm");
    auto result = cli::run_ipvsadm(words, input, transport_);
    expect(result.exit_status >= 0 && result.exit_status <= 255, "the exit status is one byte");
    expect(result.exit_status == 0 || !result.err.empty() || !result.out.empty(),
           "a failure is explained");
    return result;
  }

  /// What `ipvsadm -Sn` prints, a line each, in alphabetic order.
  std::vector<std::string> saved() {
    const auto result = run({"-S", "-n"});
    expect(result.exit_status == 0, "rules can be saved");
    std::istringstream stream(result.out);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) {
      // The third flag of sh and mh has no name that ipvsadm could print.
      constexpr std::string_view kNameless = " -b ";
      if (line.ends_with(kNameless)) line.resize(line.size() - kNameless.size());
      lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

 private:
  engine::NetworkView network_;
  engine::Director director_;
  control::RequestHandler handler_;
  control::DirectTransport transport_;
};

/// What was saved from `world` and restored into a new director is saved alike from there. Not so
/// marks from 2^31 on: ipvsadm prints them as negative numbers, which it does not read.
inline void check_that_save_and_restore_agree(CommandWorld& world) {
  const auto lines = world.saved();
  const auto is_unreadable = [](const std::string& line) {
    return line.find(" -f -") != std::string::npos;
  };
  if (std::any_of(lines.begin(), lines.end(), is_unreadable)) return;
  std::string text;
  for (const char* kind : {"-A", "-a"}) {
    for (const auto& line : lines) {
      if (line.starts_with(kind)) text += line + "\n";
    }
  }
  CommandWorld other;
  const auto result = other.run({"-R"}, text);
  expect(result.exit_status == 0, "what was saved can be restored: " + text + result.err);
  expect(other.saved() == lines, "what was restored is what was saved: " + text);
}

}  // namespace lb::fuzz
