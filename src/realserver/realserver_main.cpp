// SPDX-License-Identifier: Apache-2.0
// The program of real servers, which have no director: `sluice-realserver up` is
// `sluice realserver up` with fewer libraries.
#include <fmt/format.h>

#include <span>
#include <string>
#include <vector>

#include "doctor/doctor.hpp"
#include "realserver/realserver.hpp"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (arguments.size() > 1 && (arguments[1] == "version" || arguments[1] == "--version")) {
    fmt::print("sluice-realserver {}\n", SLUICE_VERSION);
    return 0;
  }
  if (arguments.size() > 1 && arguments[1] == "doctor") {
    return lb::doctor::main(std::span(arguments).subspan(1), {});
  }
  return lb::realserver::main(arguments);
}
