// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/rule_file.hpp"
#include "daemon/daemon.hpp"
#include "daemon/log.hpp"
#include "daemon/options.hpp"

namespace {

using namespace lb;

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

/// Only the program joins the daemon and the command line: the module `daemon` cannot know the
/// language of the rules.
tl::expected<void, std::string> load_rules(const std::string& text, wire::Transport& transport) {
  std::string_view rest = text;
  // A line at a time: a restore of them all goes on after a wrong line, and only the last one
  // decides its exit status. That does for a terminal; a director must not start with a part.
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string line(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto first = line.find_first_not_of(" \t");
    if (first == std::string::npos || line[first] == '#') continue;
    const auto result = cli::load_rule(line, transport);
    if (result.exit_status == 0) continue;
    const auto& reason = result.err.empty() ? result.out : result.err;
    return tl::unexpected(std::to_string(number) + ": " + reason.substr(0, reason.find('\n')) +
                          " (" + line + ")");
  }
  return {};
}

int fail(const std::string& reason, int status) {
  std::fprintf(stderr, "sluiced: %s\n", reason.c_str());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  const auto options = daemon::parse_options(arguments);
  if (!options) return fail(options.error() + " (see --help)", kExitUsage);
  if (options->action == daemon::Options::Action::kShowHelp) {
    std::fputs(daemon::help_text().data(), stdout);
    return 0;
  }
  if (options->action == daemon::Options::Action::kShowVersion) {
    std::puts("sluiced " SLUICE_VERSION);
    return 0;
  }
  const auto& configuration = options->configuration;
  daemon::start_log(configuration.log_level, configuration.log_format);
  const auto read_again = [&]() -> tl::expected<daemon::Configuration, std::string> {
    auto again = daemon::parse_options(arguments);
    if (!again) return tl::unexpected(std::move(again.error()));
    return std::move(again->configuration);
  };
  const auto created = daemon::Daemon::create(
      configuration, SLUICE_VERSION, {.load_rules = load_rules, .read_configuration = read_again});
  if (!created && configuration.log_format == daemon::LogFormat::kJson) {
    daemon::log(daemon::LogLevel::kError, created.error());
    return kExitFailure;
  }
  if (!created) return fail(created.error(), kExitFailure);
  return (*created)->run() ? 0 : kExitFailure;
}
