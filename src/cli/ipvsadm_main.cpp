// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <string_view>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "cli/restore.hpp"
#include "cli/socket_transport.hpp"
#include "cli/terminal.hpp"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  lb::cli::SocketTransport transport;
  // The same program under Debian's other names.
  const auto name = arguments.empty() ? std::string_view() : std::string_view(arguments.front());
  if (name.ends_with("ipvsadm-save")) {
    return lb::cli::leave(lb::cli::run_ipvsadm_save(arguments, transport));
  }
  if (name.ends_with("ipvsadm-restore")) {
    const auto rules = lb::cli::read_standard_input();
    return lb::cli::leave(lb::cli::run_ipvsadm_restore(rules, transport));
  }
  // Only -R, always the first option, reads rules.
  const auto input =
      lb::cli::reads_rules(arguments) ? lb::cli::read_standard_input() : std::string();
  return lb::cli::leave(lb::cli::run_ipvsadm(arguments, input, transport));
}
