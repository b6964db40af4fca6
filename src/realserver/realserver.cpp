// SPDX-License-Identifier: Apache-2.0
#include "realserver/realserver.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "realserver/decap_command.hpp"
#include "realserver/set_up.hpp"
#include "realserver/up_options.hpp"

namespace lb::realserver {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr std::string_view kUsage = R"(Usage: sluice realserver COMMAND
Prepares this machine as a real server. It needs no sluiced here.

  up --vip ADDRESS[,...] --mode dr|tun|nat   sets what the forwarding method needs
  down                                       takes back all that `up' has changed
  status [--json]                            what is set up, and whether it still is
  decap --interface NAME                     strips tunnels alone (see `decap --help')

  -V, --vip ADDRESS[,...]  virtual addresses; may be repeated
  -m, --mode MODE          how the director forwards: dr (ipvsadm -g), tun (-i), nat (-m)
  -i, --interface NAME     where the director's packets come in; may be repeated. Without it:
                           the interfaces of the default routes
  -D, --director ADDRESS   the director's own address: default route and answers for the virtual
                           addresses are compared with it
  -x, --xdp-mode MODE      of the program that strips tunnels: auto, native or generic
  -g, --gue-port PORT      strip GUE on this UDP port as well
  -f, --force              go on although another host answers for a virtual address
  -s, --state DIRECTORY    where changes are written down (/var/lib/sluice/realserver)
  -h, --help               print this and exit

Exit status: 0; 1 it failed, or `status' finds something missing; 2 wrong usage; 3 `status': nothing
is set up.
)";

int fail(std::string_view reason, int status) {
  fmt::print(stderr, "sluice realserver: {}\n", reason);
  return status;
}

int run(std::span<const std::string> words) {
  const auto& command = words.front();
  if (command == "decap") return decap_main(words);
  if (command == "--help" || command == "-h" || command == "help") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command != "up" && command != "down" && command != "status") {
    return fail(fmt::format("unknown command '{}' (known: up, down, status, decap)", command),
                kExitUsage);
  }
  const auto options = parse_up_options({words.begin(), words.end()});
  if (!options) return fail(options.error() + " (see --help)", kExitUsage);
  if (options->is_help) {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command == "up") return bring_up(*options);
  if (command == "down") return take_down(*options);
  return show_status(*options);
}

}  // namespace

int main(std::span<const std::string> arguments) {
  if (arguments.size() < 2) {
    return fail("say what to do: up, down, status or decap (see --help)", kExitUsage);
  }
  try {
    return run(arguments.subspan(1));
  } catch (const std::exception& error) {  // out of memory, no more threads
    return fail(error.what(), kExitFailure);
  }
}

}  // namespace lb::realserver
