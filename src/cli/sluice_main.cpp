// SPDX-License-Identifier: Apache-2.0
#include <span>
#include <string>
#include <vector>

#include "cli/run.hpp"
#include "cli/sluice.hpp"
#include "cli/socket_transport.hpp"
#include "cli/stop_command.hpp"
#include "cli/terminal.hpp"
#include "doctor/doctor.hpp"
#include "doctor/gather.hpp"
#include "realserver/realserver.hpp"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  const std::string command = arguments.size() > 1 ? arguments[1] : "";
  const auto from_command = std::span(arguments).subspan(command.empty() ? 0 : 1);
  if (command == "realserver") return lb::realserver::main(from_command);
  if (command == "run") return lb::cli::run_with_library(std::span(arguments).subspan(2));
  lb::cli::SocketTransport transport;
  if (command == "doctor") {
    return lb::doctor::main(from_command, [&](auto& kernel, auto& facts) {
      return lb::doctor::gather_director(transport, kernel, facts);
    });
  }
  if (command == "stop") {
    return lb::cli::leave(lb::cli::run_stop(std::span(arguments).subspan(2), transport));
  }
  std::string input;
  if (const auto file = lb::cli::sluice_input(arguments)) {
    auto text = lb::cli::read_input(*file);
    if (!text) {
      return lb::cli::leave({.exit_status = 1, .out = {}, .err = "sluice: " + text.error() + "\n"});
    }
    input = *std::move(text);
  }
  return lb::cli::leave(lb::cli::run_sluice(arguments, SLUICE_VERSION, transport, input));
}
