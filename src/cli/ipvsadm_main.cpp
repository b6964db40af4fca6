// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "cli/ipvsadm.hpp"
#include "cli/socket_transport.hpp"
#include "cli/terminal.hpp"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  lb::cli::SocketTransport transport;
  // Only -R, always the first option, reads rules.
  const auto input =
      lb::cli::reads_rules(arguments) ? lb::cli::read_standard_input() : std::string();
  return lb::cli::leave(lb::cli::run_ipvsadm(arguments, input, transport));
}
