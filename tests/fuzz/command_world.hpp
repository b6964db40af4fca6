// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "control/direct_transport.hpp"
#include "control/request_handler.hpp"
#include "fuzz/director_world.hpp"
#include "fuzz/input.hpp"

namespace lb::fuzz {

/// Every command line first looks up the number of IPVS's family, with the same answer every time:
/// this one remembers it.
class RememberingTransport : public wire::Transport {
 public:
  explicit RememberingTransport(wire::Transport& other) : other_(other) {}

  [[nodiscard]] Result<std::vector<wire::Message>> exchange(
      std::span<const std::byte> request) override {
    constexpr std::size_t kType = 4;
    const bool is_look_up = request.size() > kType && request[kType] == std::byte{0x10};
    if (!is_look_up) return other_.exchange(request);
    if (!std::equal(request.begin(), request.end(), request_.begin(), request_.end())) {
      request_.assign(request.begin(), request.end());
      answer_ = other_.exchange(request).value();
    }
    return answer_;
  }

 private:
  wire::Transport& other_;
  std::vector<std::byte> request_;
  std::vector<wire::Message> answer_;
};

/// A director that ipvsadm commands are given to, in one process.
class CommandWorld : public DirectorWorld {
 public:
  CommandWorld()
      : DirectorWorld(16),
        handler_(director, nullptr),
        transport_(handler_),
        remembering_(transport_) {}

  /// Runs `ipvsadm WORD...` and checks that it ends as a program does.
  cli::ProgramResult run(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), "ipvsadm");
    auto result = cli::run_ipvsadm(words, input, remembering_);
    expect(result.exit_status >= 0 && result.exit_status <= 255, "the exit status is one byte");
    expect(result.exit_status == 0 || !result.err.empty() || !result.out.empty(),
           "a failure is explained");
    return result;
  }

  /// What `ipvsadm -Sn` prints, a line each, in alphabetic order.
  std::vector<std::string> saved() {
    const auto result = run({"-S", "-n"});
    expect(result.exit_status == 0, "rules can be saved");
    std::string_view rest = result.out;
    std::vector<std::string> lines;
    while (auto line = take_until(rest, '\n')) {
      // The third flag of sh and mh has no name that ipvsadm could print.
      constexpr std::string_view kNameless = " -b ";
      if (line->ends_with(kNameless)) line->remove_suffix(kNameless.size());
      lines.emplace_back(*line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

 private:
  control::RequestHandler handler_;
  control::DirectTransport transport_;
  RememberingTransport remembering_;
};

/// What was saved from `world` and restored into a new director is saved alike from there. Not so
/// marks from 2^31 on: ipvsadm prints them as negative numbers, which it does not read.
inline void check_that_save_and_restore_agree(CommandWorld& world) {
  const auto lines = world.saved();
  if (lines.empty()) return;
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
  struct OtherWorld : CommandWorld {};
  auto& other = serve<OtherWorld>();
  const auto result = other.run({"-R"}, text);
  expect(result.exit_status == 0, "what was saved can be restored: " + text + result.err);
  expect(other.saved() == lines, "what was restored is what was saved: " + text);
  other.clear();
}

}  // namespace lb::fuzz
