// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>
#include <vector>

#include "cli/ipvsadm.hpp"
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
  const std::vector<std::string> arguments{"ipvsadm", "--restore"};
  const auto result = cli::run_ipvsadm(arguments, text, transport);
  if (result.exit_status == 0) return {};
  auto reason = result.err.empty() ? result.out : result.err;
  while (!reason.empty() && reason.back() == '\n') reason.pop_back();
  return tl::unexpected(std::move(reason));
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
  daemon::start_log(options->configuration.log_level);
  const auto created = daemon::Daemon::create(options->configuration, SLUICE_VERSION, load_rules);
  if (!created) return fail(created.error(), kExitFailure);
  return (*created)->run() ? 0 : kExitFailure;
}
