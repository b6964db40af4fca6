// SPDX-License-Identifier: Apache-2.0
// The program of real servers, which have no director: `sluice-realserver up` is
// `sluice realserver up` with fewer libraries.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "realserver/realserver.hpp"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (arguments.size() > 1 && (arguments[1] == "version" || arguments[1] == "--version")) {
    fmt::print("sluice-realserver {}\n", SLUICE_VERSION);
    return 0;
  }
  return lb::realserver::main(arguments);
}
