// SPDX-License-Identifier: Apache-2.0
#include "cli/sluice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <string_view>

#include "cli/apply.hpp"
#include "cli/failed.hpp"
#include "cli/ipvs_client.hpp"
#include "cli/listing.hpp"
#include "cli/mark.hpp"
#include "cli/restore.hpp"
#include "cli/service_command.hpp"
#include "cli/snat.hpp"
#include "cli/status.hpp"
#include "cli/sysctl.hpp"

namespace lb::cli {
namespace {

constexpr std::string_view kUsage =
    "Usage: sluice COMMAND\n"
    "\n"
    "  status [--json] [--all]\n"
    "                   whether all is well; exit status 0 yes, 1 warning, 2 critical, 3 unknown\n"
    "  connections [-n] the connection table; -n: ports as numbers\n"
    "  connections delete [--server ADDRESS[:PORT]] [--client ADDRESS] [SERVICE]\n"
    "                   ends the connections that match; TCP clients are told by a RST\n"
    "  service ...      what a service has beyond IPVS: draining, timeouts (see `sluice service "
    "help')\n"
    "  mark ...         the rules that give packets firewall marks (see `sluice mark help')\n"
    "  snat ...         source NAT: addresses for what inside hosts send (see `sluice snat help')\n"
    "  sysctl [NAME[=VALUE] ...]\n"
    "                   shows or changes settings (net.ipv4.vs.*)\n"
    "  save             writes services, servers, mark and SNAT rules as `restore' reads them\n"
    "  restore [--atomic] [--replace] [FILE]\n"
    "                   carries out the lines of FILE (`-' or none: the standard input);\n"
    "                   --atomic: all of them or none; --replace: in place of what is there\n"
    "  stop [--keep-forwarding | --remove]\n"
    "                   ends the director, and waits until it has; established connections go\n"
    "                   on without it, or not (neither: as `keep_forwarding' is configured)\n"
    "  run -- COMMAND   runs stock programs of IPVS (ipvsadm, keepalived) with this director\n"
    "  doctor           looks for what breaks LVS here, and says what to do\n"
    "  apply [--dry-run] [FILE]\n"
    "                   makes the director equal to a TOML file, changing what differs; shows it\n"
    "  export           writes the file that describes the director as it is\n"
    "  realserver ...   prepares this machine as a real server (see `sluice realserver help')\n"
    "  help             this text\n"
    "  version          the version of sluice\n"
    "\n"
    "Services and real servers are managed with ipvsadm.\n";

ProgramResult wrong_usage(const std::string& message) {
  auto result = failed(message, kWrongUsage);
  result.err += kUsage;
  return result;
}

ProgramResult run_connections(std::span<const std::string> options, wire::Transport& transport) {
  if (!options.empty() && options.front() == "delete") {
    return run_delete_connections(options.subspan(1), transport);
  }
  OptionSet set;
  for (const auto& option : options) {
    if (option != "-n") return wrong_usage(fmt::format("unknown option `{}'", option));
    set.insert(Option::kNumeric);
  }
  const auto connections = IpvsClient(transport).connections();
  if (!connections) return not_answered(connections.error());
  return {.exit_status = 0, .out = connections_text(*connections, set, true), .err = {}};
}

ProgramResult run(std::span<const std::string> arguments, const std::string& version,
                  wire::Transport& transport, const std::string& input) {
  if (arguments.size() < 2) return wrong_usage("a command is needed");
  const auto& command = arguments[1];
  const auto rest = arguments.subspan(2);
  if (command == "connections") return run_connections(rest, transport);
  if (command == "service") return run_service(rest, transport);
  if (command == "snat") return run_snat(rest, transport);
  if (command == "mark") return run_mark(rest, input, transport);
  if (command == "status") return run_status(rest, transport);
  if (command == "sysctl") return run_sysctl(rest, transport);
  if (command == "save") return run_save(rest, transport);
  if (command == "export") return run_export(rest, transport);
  if (command == "apply") {
    const auto file = restore_file(rest);
    return run_apply(rest, file.empty() ? "standard input" : file, input, transport);
  }
  if (command == "restore") {
    const auto file = restore_file(rest);
    return run_restore(rest, file.empty() ? "standard input" : file, input, transport);
  }
  if (!rest.empty()) return wrong_usage(fmt::format("unexpected argument `{}'", rest.front()));
  if (command == "help" || command == "--help" || command == "-h") {
    return {.exit_status = 0, .out = std::string(kUsage), .err = {}};
  }
  if (command == "version" || command == "--version" || command == "-v") {
    return {.exit_status = 0, .out = fmt::format("sluice {}\n", version), .err = {}};
  }
  return wrong_usage(fmt::format("unknown command `{}'", command));
}

}  // namespace

ProgramResult run_sluice(std::span<const std::string> arguments, const std::string& version,
                         wire::Transport& transport, const std::string& input) {
  try {
    return run(arguments, version, transport, input);
  } catch (const std::exception& error) {  // out of memory
    return failed(error.what());
  }
}

std::optional<std::string> sluice_input(std::span<const std::string> arguments) {
  if (arguments.size() > 1 && (arguments[1] == "restore" || arguments[1] == "apply")) {
    return restore_file(arguments.subspan(2));
  }
  if (arguments.size() > 2 && arguments[1] == "mark" && mark_reads_input(arguments[2])) {
    return std::string();
  }
  return std::nullopt;
}

}  // namespace lb::cli
