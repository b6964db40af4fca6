// SPDX-License-Identifier: Apache-2.0
#include <span>
#include <string>
#include <vector>

#include "cli/run.hpp"
#include "cli/sluice.hpp"
#include "cli/socket_transport.hpp"
#include "cli/terminal.hpp"
#if __has_include("realserver/realserver.hpp")
#include "realserver/realserver.hpp"
#endif

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
#if __has_include("realserver/realserver.hpp")
  if (arguments.size() > 1 && arguments[1] == "realserver") {
    return lb::realserver::main(std::span(arguments).subspan(1));
  }
#endif
  if (arguments.size() > 1 && arguments[1] == "run") {
    return lb::cli::run_with_library(std::span(arguments).subspan(2));
  }
  lb::cli::SocketTransport transport;
  const auto input =
      lb::cli::sluice_reads_input(arguments) ? lb::cli::read_standard_input() : std::string();
  return lb::cli::leave(lb::cli::run_sluice(arguments, SLUICE_VERSION, transport, input));
}
